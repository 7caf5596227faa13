/* The confusion matrix of chapter 5, to click: opens a cell and shows its digits, with both networks' probabilities.

   It takes the place of the picture in the figure `fig-confusion` where scripts run and the data are there
   (`window.mistakes`, written by labcode/mistakes.py); elsewhere, and in print, the picture stays. */
(() => {
  "use strict";
  const figure = document.getElementById("fig-confusion");
  const data = window.mistakes;
  if (!figure || !data) return;

  const SIDE = 28; // pixels
  const DIGITS = [...Array(10).keys()];
  const MOVES = { ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowDown: [1, 0] };
  const pixels = Uint8Array.from(atob(data.pixels), (character) => character.charCodeAt(0));

  let network = data.networks[0]; // whose matrix is shown
  let focused = [0, 0]; // the cell that Tab reaches
  let opened = null; // the cell whose digits are shown: [true digit, predicted digit]
  let place = 0; // which of them
  let surestFirst = true;

  // What the page is made of

  /** Make an element: its attributes, then its children, elements or texts. */
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function makeHeader(scope, text) {
    return make("th", { scope }, String(text));
  }

  function makeButton(text, action) {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", action);
    return button;
  }

  function makeCell(digit, guess) {
    const button = makeButton("", () => open(digit, guess));
    button.addEventListener("focus", () => rove(digit, guess));
    button.classList.toggle("right", digit === guess);
    return button;
  }

  function makeChoice(each) {
    const input = make("input", { type: "radio", name: "mistakes-network" });
    input.checked = each === network;
    input.addEventListener("change", () => choose(each));
    return make("label", {}, input, ` ${each.name}`);
  }

  const choice = make("fieldset", {}, make("legend", {}, "Network:"), ...data.networks.map(makeChoice));

  const cells = DIGITS.map((digit) => DIGITS.map((guess) => makeCell(digit, guess)));
  const inCells = (buttons) => buttons.map((button) => make("td", {}, button));
  const rows = cells.map((buttons, digit) => make("tr", {}, makeHeader("row", digit), ...inCells(buttons)));
  const columns = make("tr", {}, make("td"), ...DIGITS.map((digit) => makeHeader("col", digit)));
  const caption = make("caption");
  const matrix = make("table", { role: "grid" }, caption, make("thead", {}, columns), make("tbody", {}, ...rows));

  const said = make("p", { "aria-live": "polite" }, "Choose a cell to see its digits. Arrow keys move, Enter opens.");
  const canvas = make("canvas", { width: SIDE, height: SIDE, role: "img" });
  const names = ["digit", ...data.networks.map(({ name }) => name)].map((name) => makeHeader("col", name));
  const answers = make("tbody");
  const probabilities = make("table", {}, make("thead", {}, make("tr", {}, ...names)), answers);
  const sort = makeButton("", reverse);
  const viewer = make(
    "div",
    { class: "viewer", role: "group", "aria-label": "The digits of the cell", tabindex: "-1", hidden: "" },
    make("div", { class: "digit" }, canvas, probabilities),
    makeButton("◀ Previous", () => step(-1)),
    makeButton("Next ▶", () => step(1)),
    sort,
    makeButton("▲ Back to the matrix", back),
    make("p", { class: "keys" }, "Keys: ← and → step, Escape goes back to the cell."),
  );
  const digits = make("div", { class: "digits" }, said, viewer);

  // What the reader does

  function choose(each) {
    network = each;
    drawMatrix();
    if (opened) show(...opened);
  }

  /** Let Tab reach this cell, and no other. */
  function rove(digit, guess) {
    cells.flat().forEach((cell) => (cell.tabIndex = -1));
    focused = [digit, guess];
    cells[digit][guess].tabIndex = 0;
  }

  /** Show a cell's digits and take the reader to them. */
  function open(digit, guess) {
    show(digit, guess);
    viewer.focus({ preventScroll: true });
    digits.scrollIntoView({ block: "nearest" });
  }

  function show(digit, guess) {
    opened = [digit, guess];
    place = 0;
    cells.flat().forEach((cell) => cell.removeAttribute("aria-current"));
    cells[digit][guess].setAttribute("aria-current", "true");
    viewer.hidden = shown().length === 0;
    if (viewer.hidden) said.textContent = `${network.name} reads no ${digit} as ${guess}.`;
    else drawDigit();
  }

  /** Take the reader from the digits to the cell that they are of. */
  function back() {
    cells[opened[0]][opened[1]].focus({ preventScroll: true });
    matrix.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    place = (place + by + shown().length) % shown().length;
    drawDigit();
  }

  function reverse() {
    surestFirst = !surestFirst;
    place = 0;
    drawDigit();
  }

  function hasModifier(event) {
    return event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
  }

  matrix.addEventListener("keydown", (event) => {
    if (!(event.key in MOVES) || hasModifier(event)) return;
    event.preventDefault(); // else the page scrolls
    const [down, right] = MOVES[event.key];
    cells[focused[0] + down]?.[focused[1] + right]?.focus();
  });

  viewer.addEventListener("keydown", (event) => {
    if (hasModifier(event)) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "Escape") back();
    else return;
    event.preventDefault();
  });

  // What is shown

  /** The digits of the opened cell, in the order chosen. */
  function shown() {
    const all = network.cells[opened[0]][opened[1]];
    return surestFirst ? all : [...all].reverse();
  }

  function drawMatrix() {
    const isError = (_, index) => index % 11 !== 0; // the eleventh number of each row and ten is on the diagonal
    const errors = network.matrix.flat().filter(isError);
    const sum = (counts) => counts.reduce((total, count) => total + count, 0).toLocaleString("en");
    caption.textContent =
      `${network.name} misreads ${sum(errors)} of ${sum(network.matrix.flat())} test images. ` +
      "Rows: true digit; columns: digit it was read as; the stronger the orange, the more errors.";
    for (const digit of DIGITS) {
      for (const guess of DIGITS) {
        const count = network.matrix[digit][guess];
        const cell = cells[digit][guess];
        cell.textContent = count;
        cell.setAttribute("aria-label", `${digit} read as ${guess}: ${count}`);
        cell.classList.toggle("empty", count === 0);
        cell.style.setProperty("--share", digit === guess ? 0 : count / Math.max(1, ...errors));
      }
    }
  }

  function drawDigit() {
    const [digit, guess] = opened;
    const image = shown()[place];
    const answer = (each) => {
      const read = each.predicted[image];
      const confidence = percent(each.probabilities[image][read]);
      return `${each.name}: ${read}, ${confidence}, ${read === digit ? "right" : "wrong"}.`;
    };
    const of = `${place + 1} of ${shown().length}`;
    const count = network.matrix[digit][guess];
    const sample = shown().length < count ? `, a sample: the first ${shown().length} of ${count} in the test set` : "";
    said.textContent = [
      `${digit} read as ${guess} by ${network.name}: ${of}${sample}. Test image ${data.images[image]}.`,
      ...data.networks.map(answer),
    ].join("\n");
    sort.textContent = surestFirst ? "Least confident first" : "Most confident first";
    canvas.setAttribute("aria-label", `Test image ${data.images[image]}, a handwritten digit labelled ${digit}`);
    drawPixels(pixels.subarray(SIDE * SIDE * image, SIDE * SIDE * (image + 1)));
    answers.replaceChildren(...DIGITS.map((each) => makeAnswers(each, image)));
  }

  /** Draw 784 grey levels, black on white as in the figures. */
  function drawPixels(levels) {
    const context = canvas.getContext("2d");
    const picture = context.createImageData(SIDE, SIDE);
    levels.forEach((level, i) => picture.data.set([255 - level, 255 - level, 255 - level, 255], 4 * i));
    context.putImageData(picture, 0, 0);
  }

  /** The row of both networks' probabilities of one digit, each on a bar of that length. */
  function makeAnswers(digit, image) {
    const isTrue = digit === data.labels[image];
    const fields = data.networks.map((each) => {
      const probability = each.probabilities[image][digit];
      const isAnswer = digit === each.predicted[image];
      const mark = isAnswer ? (isTrue ? "✓ " : "✗ ") : "";
      const field = make("td", { class: each.name.toLowerCase() }, mark + percent(probability));
      field.classList.toggle("answer", isAnswer);
      field.style.setProperty("--share", probability / data.scale);
      return field;
    });
    return make("tr", {}, makeHeader("row", isTrue ? `${digit}, true` : digit), ...fields);
  }

  function percent(probability) {
    return `${((100 * probability) / data.scale).toFixed(2)} %`;
  }

  drawMatrix();
  rove(0, 0);
  figure.prepend(make("div", { class: "mistakes" }, make("div", { class: "matrix" }, choice, matrix), digits));
})();
