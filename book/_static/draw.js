/* The page on which a reader draws a digit and both networks answer: chapter 10.

   It fills the element `draw`, which names the checksum of this build's weights. The drawing is a list of strokes, or
   else one of the test digits; all that is shown follows from it, once in a frame of the screen at most. The weights are
   read when the drawing area comes into sight or is used, for that takes a phone half a second. */
"use strict";
(() => {
  const CELLS = 28; // of the grid on which the arrow keys move
  const TEMPLATE = `
    <div class="draw-board">
      <canvas id="draw-paper" width="560" height="560" tabindex="0" role="application" aria-describedby="draw-keys"
        aria-label="Drawing area"></canvas>
      <div class="draw-buttons">
        <button type="button" id="draw-undo">Undo</button>
        <button type="button" id="draw-clear">Clear</button>
      </div>
      <p id="draw-keys">Keys: arrows move, space sets or lifts the pen.</p>
      <p id="draw-place" aria-live="polite"></p>
    </div>
    <div class="draw-now">
      <p class="draw-fc"><span>FC</span> <strong></strong> <span></span></p>
      <p class="draw-cnn"><span>CNN</span> <strong></strong> <span></span></p>
      <figure>
        <canvas id="draw-seen" width="28" height="28" role="img" aria-label="The prepared picture, 28x28"></canvas>
        <figcaption>Both see this</figcaption>
      </figure>
    </div>
    <div class="draw-maps">
      <p>What the CNN's three blocks answer:</p>
      <canvas id="draw-pool_1" width="83" height="27" role="img" aria-label="Feature maps of the first block"></canvas>
      <canvas id="draw-pool_2" width="35" height="11" role="img" aria-label="Feature maps of the second block"></canvas>
      <canvas id="draw-pool_3" width="32" height="8" role="img" aria-label="Values of the third block"></canvas>
      <p>Some maps of 13x13, some of 5x5, and all 256 of one value; white is the largest of a block.</p>
    </div>
    <div class="draw-answers">
      <p id="draw-said" aria-live="polite"></p>
      <table id="draw-table">
        <thead><tr><th scope="col">digit</th><th scope="col">FC</th><th scope="col">CNN</th></tr></thead>
        <tbody></tbody>
      </table>
    </div>
    <div class="draw-digits" role="group" aria-label="Test digits">
      <p>Or take a test digit; of the last ones FC misreads each, and the CNN reads it:</p>
    </div>`;

  const root = document.getElementById("draw");
  const find = (selector) => root.querySelector(selector);
  const state = {
    strokes: [],
    digit: null, // or the number of the test digit that is shown
    history: [], // the strokes and the digit before each change
    pen: null, // who holds it down: "pointer" or "keys"
    keyed: false, // the keyboard is at the drawing area: its pen is shown, and its place said
    cursor: [14, 14],
    scheduled: false,
  };
  let build = null; // networks, digits and maps

  function start() {
    root.innerHTML = TEMPLATE;
    find("tbody").innerHTML = Array.from({ length: 10 }, (_, digit) => row(digit)).join("");
    find("#draw-undo").addEventListener("click", undo);
    find("#draw-clear").addEventListener("click", clear);
    const paper = find("#draw-paper");
    followPointer(paper);
    followKeys(paper);
    const inSight = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      inSight.disconnect();
      schedule();
    });
    inSight.observe(paper);
  }

  /* Read the weights, and say whether that went well; if not, a message takes the place of all else. */
  function load() {
    try {
      build = labcodeNetwork.load(window.labcodeWeights, Number(root.dataset.checksum.replace("≈", "")));
    } catch (error) {
      root.innerHTML = '<p class="draw-fault" role="alert"></p>';
      find("p").textContent = `The networks cannot answer here. ${error.message} Reload the page, or build it again.`;
      return false;
    }
    build.digits.forEach(addDigit);
    for (const { image } of build.digits.slice(0, 4)) {
      setTimeout(() => labcodeNetwork.forward(build.networks.cnn, image)); // compiled before anyone waits for an answer
    }
    return true;
  }

  function row(digit) {
    const inside = '<span class="draw-number"></span> <span class="draw-bar"></span>';
    const cell = (name) => `<td class="draw-${name}">${inside}</td>`;
    return `<tr><th scope="row">${digit}</th>${cell("fc")}${cell("cnn")}</tr>`;
  }

  function addDigit({ label, image }, number) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `test digit ${number + 1}, a ${label}`;
    button.setAttribute("aria-label", button.title);
    const canvas = document.createElement("canvas");
    paint(canvas, image, 28, 28, 1);
    button.append(canvas);
    button.addEventListener("click", () => number !== state.digit && change([], number));
    find(".draw-digits").append(button);
  }

  /* What is drawn */

  function change(strokes, digit, pen = null) {
    state.history.push({ strokes: state.strokes, digit: state.digit });
    Object.assign(state, { strokes, digit, pen });
    schedule();
  }

  function undo() {
    Object.assign(state, state.history.pop(), { pen: null });
    schedule();
  }

  function clear() {
    if (state.strokes.length > 0 || state.digit !== null) change([], null);
  }

  function begin(point, pen) {
    change([...state.strokes, [point]], null, pen);
  }

  function extend(point) {
    state.strokes[state.strokes.length - 1].push(point);
    schedule();
  }

  function lift() {
    state.pen = null;
    schedule();
  }

  function followPointer(paper) {
    let pointer = null; // the one that draws; another finger meanwhile does nothing
    const place = (event) => {
      const box = paper.getBoundingClientRect();
      const within = (value) => Math.min(1, Math.max(0, value));
      return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
    };
    paper.addEventListener("pointerdown", (event) => {
      if (pointer !== null || event.button !== 0) return;
      pointer = event.pointerId;
      paper.setPointerCapture(pointer);
      state.keyed = false;
      begin(place(event), "pointer");
    });
    paper.addEventListener("pointermove", (event) => {
      if (event.pointerId !== pointer || state.pen !== "pointer") return;
      for (const each of event.getCoalescedEvents?.() ?? []) extend(place(each));
      extend(place(event));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      paper.addEventListener(end, (event) => {
        if (event.pointerId !== pointer) return;
        pointer = null;
        if (state.pen === "pointer") lift();
      });
    }
  }

  function followKeys(paper) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const place = () => state.cursor.map((cell) => (cell + 0.5) / CELLS);
    paper.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if ((!move && event.key !== " ") || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      if (state.pen === "pointer") return;
      state.keyed = true;
      if (move) {
        state.cursor = state.cursor.map((cell, axis) => Math.min(CELLS - 1, Math.max(0, cell + move[axis])));
        if (state.pen) extend(place());
      } else if (state.pen) {
        lift();
      } else {
        begin(place(), "keys");
      }
      schedule();
    });
    paper.addEventListener("focus", () => {
      state.keyed = paper.matches(":focus-visible");
      schedule();
    });
    paper.addEventListener("blur", () => {
      state.keyed = false;
      lift();
    });
  }

  /* What is shown */

  function schedule() {
    if (state.scheduled) return;
    state.scheduled = true;
    requestAnimationFrame(update);
  }

  function update() {
    if (!build) {
      if (load()) requestAnimationFrame(update); // reading takes a frame of its own; after a fault nothing follows
      return;
    }
    state.scheduled = false;
    const drawn = state.digit === null ? labcodeNetwork.prepare(state.strokes) : build.digits[state.digit].image;
    const image = drawn ?? new Float32Array(28 * 28); // the blocks answer to an empty picture too
    const answers = {};
    for (const name of ["fc", "cnn"]) {
      answers[name] = labcodeNetwork.forward(build.networks[name], image);
      showAnswer(name, drawn && answers[name].probabilities.values);
    }
    drawPaper();
    paint(find("#draw-seen"), image, 28, 28, 1);
    for (const block of Object.keys(build.maps)) drawMaps(block, answers.cnn[block]);
    root.querySelectorAll(".draw-digits button").forEach((button, number) => {
      button.setAttribute("aria-pressed", number === state.digit);
    });
    say("#draw-said", state.pen ? "You are drawing." : drawn ? inWords(answers) : "Nothing is drawn yet.");
    const [column, line] = state.cursor;
    const place = `Pen ${state.pen ? "down" : "up"}, row ${line + 1}, column ${column + 1}.`;
    say("#draw-place", state.keyed ? place : "");
  }

  /* Only what changes is written, so that a screen reader says it once. */
  function say(selector, text) {
    if (find(selector).textContent !== text) find(selector).textContent = text;
  }

  function largest(probabilities) {
    return probabilities.indexOf(Math.max(...probabilities));
  }

  function percent(share) {
    return `${(100 * share).toFixed(1)} %`;
  }

  function showAnswer(name, probabilities) {
    const [answer, confidence] = root.querySelectorAll(`p.draw-${name} strong, p.draw-${name} strong ~ span`);
    const digit = probabilities && largest(probabilities);
    answer.textContent = probabilities ? digit : "–";
    confidence.textContent = probabilities ? percent(probabilities[digit]) : "";
    root.querySelectorAll(`td.draw-${name}`).forEach((cell, i) => {
      cell.classList.toggle("draw-largest", i === digit);
      cell.firstChild.textContent = probabilities ? percent(probabilities[i]) : "–";
      cell.lastChild.style.setProperty("--share", probabilities ? probabilities[i] : 0);
    });
  }

  function inWords({ fc, cnn }) {
    const said = ({ probabilities: { values } }) => `${largest(values)}, ${percent(values[largest(values)])}`;
    const from = state.digit === null ? "Your drawing." : `A test digit, labelled ${build.digits[state.digit].label}.`;
    return `${from} FC reads ${said(fc)}; the CNN reads ${said(cnn)}.`;
  }

  function drawPaper() {
    const paper = find("#draw-paper");
    const side = paper.width;
    const context = paper.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = "black";
    context.fillRect(0, 0, side, side);
    const digit = root.querySelectorAll(".draw-digits canvas")[state.digit];
    if (digit) context.drawImage(digit, 0, 0, side, side);
    context.strokeStyle = context.fillStyle = "white";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = 2 * labcodeNetwork.PEN * side;
    for (const stroke of state.strokes) {
      context.beginPath();
      for (const [x, y] of stroke) context.lineTo(x * side, y * side);
      context.stroke();
      context.beginPath(); // the first point again, for a line without length is not painted
      context.arc(stroke[0][0] * side, stroke[0][1] * side, labcodeNetwork.PEN * side, 0, 2 * Math.PI);
      context.fill();
    }
    if (state.keyed) drawCursor(context, side);
  }

  function drawCursor(context, side) {
    const [x, y] = state.cursor.map((cell) => ((cell + 0.5) / CELLS) * side);
    for (const [colour, width] of [["black", 9], ["white", 4]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, labcodeNetwork.PEN * side, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  /* Paint values in [0, limit] as grey levels, black to white. */
  function paint(canvas, values, width, height, limit) {
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    values.forEach((value, i) => pixels.data.fill((255 * value) / limit, 4 * i, 4 * i + 3));
    for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 255;
    context.putImageData(pixels, 0, 0);
  }

  /* Paint a block's chosen maps side by side, a pixel apart where they have more than one place. */
  function drawMaps(block, { height, width, channels, values }) {
    const chosen = build.maps[block];
    const [across, gap] = chosen.length > 12 ? [32, 0] : [6, 1];
    const down = Math.ceil(chosen.length / across);
    const [totalWidth, totalHeight] = [across * (width + gap) - gap, down * (height + gap) - gap];
    const tiles = new Float32Array(totalWidth * totalHeight);
    chosen.forEach((map, tile) => {
      const corner = Math.floor(tile / across) * (height + gap) * totalWidth + (tile % across) * (width + gap);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) tiles[corner + y * totalWidth + x] = values[(y * width + x) * channels + map];
      }
    });
    paint(find(`#draw-${block}`), tiles, totalWidth, totalHeight, Math.max(1e-6, ...tiles));
  }

  start();
})();
