/* The forward pass of this build's networks, and how a drawing is prepared for them.

   A classic script without dependencies, so that it works on a page opened from a file. It defines `labcodeNetwork`:

   load(weights, checksum)   what the script of labcode/web.py holds; throws an Error that says what is wrong with it
   forward(network, image)   what each layer answers to an image of 784 values in [0, 1]; the last one is `probabilities`
   prepare(strokes)          the image of a drawing, as MNIST's digits were prepared; null where nothing is drawn

   Arrays are Float32Arrays in Keras's order: height, width, channels. */
"use strict";
var labcodeNetwork = (() => {
  const FORMAT = 2; // of the weights; labcode/web.py has the same number

  /* Weights */

  function load(weights, checksum) {
    if (typeof weights !== "object" || weights === null) {
      throw new Error("The file draw-weights.js, which holds the networks, is missing or cut short.");
    }
    if (weights.format !== FORMAT) {
      throw new Error(`The file draw-weights.js has format ${weights.format}; this page reads format ${FORMAT}.`);
    }
    const text = toBytes(String(weights.description));
    const bytes = decode(String(weights.bytes));
    if (crc32(text, bytes) !== weights.checksum) {
      throw new Error("The file draw-weights.js is damaged: its checksum is not that of what it holds.");
    }
    if (weights.checksum !== checksum) {
      throw new Error("The file draw-weights.js comes from another build of this report than the page.");
    }
    const reader = { bytes, at: 0 };
    const described = JSON.parse(weights.description);
    const networks = {};
    for (const [name, layers] of Object.entries(described.networks)) {
      networks[name] = layers.map((layer) => (layer.shape ? { ...layer, ...readWeights(reader, layer.shape) } : layer));
    }
    const readImage = () => Float32Array.from(take(reader, 28 * 28), (grey) => grey / 255);
    const digits = described.digits.map((digit) => ({ ...digit, image: readImage() }));
    return { networks, digits, maps: described.maps };
  }

  /* Text that is no base64 has no bytes, so that the checksum tells it. */
  function decode(text) {
    try {
      return toBytes(atob(text));
    } catch {
      return new Uint8Array(0);
    }
  }

  function toBytes(letters) {
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
    return bytes;
  }

  function crc32(...parts) {
    const table = new Int32Array(256).map((_, byte) => {
      for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0xedb88320 : 0);
      return byte;
    });
    let crc = -1;
    for (const bytes of parts) {
      for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]) & 255];
    }
    return (crc ^ -1) >>> 0;
  }

  function take(reader, count) {
    reader.at += count;
    return reader.bytes.slice(reader.at - count, reader.at);
  }

  /* A kernel is kept as whole numbers of 8 bits and one scale for each output; here it becomes floats again. */
  function readWeights(reader, shape) {
    const size = shape.reduce((a, b) => a * b);
    const outputs = shape[shape.length - 1];
    const codes = new Int8Array(take(reader, size).buffer);
    const scales = new Float32Array(take(reader, 4 * outputs).buffer);
    const bias = new Float32Array(take(reader, 4 * outputs).buffer);
    return { kernel: new Float32Array(codes).map((code, i) => code * scales[i % outputs]), bias };
  }

  /* The layers. Each takes and returns { height, width, channels, values }. */

  const LAYERS = { convolution, pooling, dense };

  function forward(network, image) {
    const answers = {};
    let answer = { height: 28, width: 28, channels: 1, values: image };
    for (const layer of network) {
      answers[layer.name] = answer = LAYERS[layer.kind](layer, answer);
      if (layer.activation === "relu") answer.values.forEach((value, i, all) => (all[i] = value > 0 ? value : 0));
      if (layer.activation === "softmax") softmax(answer.values);
    }
    return answers;
  }

  /* Most of the time goes here. The sums for one place are those over the inputs in its window that are not 0, which
     after a ReLU are about half of them, times a row of the kernel each; four rows at once spare reading the sums. */
  function convolution({ kernel, bias, shape }, input) {
    const [size, , channels, outputs] = shape;
    const height = input.height - size + 1;
    const width = input.width - size + 1;
    const values = new Float32Array(height * width * outputs);
    const window = { rows: new Int32Array(size * size * channels), inputs: new Float32Array(size * size * channels) };
    const round = Math.fround; // tells the compiler that 32 bits will do
    for (let place = 0; place < height * width; place++) {
      const sums = values.subarray(place * outputs, (place + 1) * outputs);
      sums.set(bias);
      const count = gather(input, Math.floor(place / width), place % width, size, outputs, window);
      const { rows, inputs } = window;
      let i = 0;
      for (; i + 3 < count; i += 4) {
        const [a, b, c, d] = [inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]];
        const [row0, row1, row2, row3] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
        for (let j = 0; j < outputs; j++) {
          const first = round(round(a * kernel[row0 + j]) + round(b * kernel[row1 + j]));
          const second = round(round(c * kernel[row2 + j]) + round(d * kernel[row3 + j]));
          sums[j] = round(sums[j] + round(first + second));
        }
      }
      for (; i < count; i++) {
        for (let j = 0; j < outputs; j++) sums[j] += inputs[i] * kernel[rows[i] + j];
      }
    }
    return { height, width, channels: outputs, values };
  }

  /* Collect the inputs of a window that are not 0, and where the kernel's row for each begins; return their number. */
  function gather(input, top, left, size, outputs, window) {
    const across = size * input.channels;
    let count = 0;
    for (let dy = 0; dy < size; dy++) {
      const start = ((top + dy) * input.width + left) * input.channels;
      for (let i = 0; i < across; i++) {
        const value = input.values[start + i];
        if (value !== 0) {
          window.inputs[count] = value;
          window.rows[count++] = (dy * across + i) * outputs;
        }
      }
    }
    return count;
  }

  function pooling(layer, { height, width, channels, values }) {
    const half = { height: height >> 1, width: width >> 1, channels };
    half.values = new Float32Array(half.height * half.width * channels);
    for (let y = 0, at = 0; y < half.height; y++) {
      for (let x = 0; x < half.width; x++) {
        for (let channel = 0; channel < channels; channel++, at++) {
          const corner = (2 * y * width + 2 * x) * channels + channel;
          const below = corner + width * channels;
          const [right, diagonal] = [corner + channels, below + channels];
          half.values[at] = Math.max(values[corner], values[right], values[below], values[diagonal]);
        }
      }
    }
    return half;
  }

  function dense({ kernel, bias }, { values: inputs }) {
    const outputs = bias.length;
    const sums = Float64Array.from(bias);
    for (let i = 0; i < inputs.length; i++) {
      if (inputs[i] === 0) continue;
      for (let j = 0; j < outputs; j++) sums[j] += inputs[i] * kernel[i * outputs + j];
    }
    return { height: 1, width: 1, channels: outputs, values: Float32Array.from(sums) };
  }

  function softmax(values) {
    const largest = Math.max(...values);
    const powers = Array.from(values, (value) => Math.exp(value - largest));
    const sum = powers.reduce((a, b) => a + b);
    powers.forEach((power, i) => (values[i] = power / sum));
  }

  /* Preparation. A stroke is a list of points [x, y], in units of the drawing's side; one point is a dot. */

  const PEN = 0.045; // radius of the pen, in the same units
  const BOX = 20; // the ink is fitted into so many pixels, keeping its proportions
  const FINE = 8; // each pixel is tried at so many places in a row, and as many rows

  function prepare(strokes) {
    const points = strokes.flat();
    if (points.length === 0) return null;
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, right, top, bottom] = [min(xs) - PEN, max(xs) + PEN, min(ys) - PEN, max(ys) + PEN];
    const scale = (BOX * FINE) / Math.max(right - left, bottom - top);
    const ink = new Uint8Array((BOX * FINE) ** 2);
    for (const stroke of strokes) {
      const scaled = stroke.map(([x, y]) => [(x - left) * scale, (y - top) * scale]);
      scaled.forEach((point, i) => drawSegment(ink, scaled[Math.max(0, i - 1)], point, PEN * scale));
    }
    const inked = [right - left, bottom - top].map((size) => Math.min(BOX, Math.ceil((size * scale) / FINE)));
    return centred(greyLevels(ink), inked);
  }

  function min(values) {
    return values.reduce((a, b) => Math.min(a, b));
  }

  function max(values) {
    return values.reduce((a, b) => Math.max(a, b));
  }

  /* Mark the places whose distance from the segment is at most the radius. */
  function drawSegment(ink, [ax, ay], [bx, by], radius) {
    const side = BOX * FINE;
    const [dx, dy] = [bx - ax, by - ay];
    const length = dx * dx + dy * dy;
    const first = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - radius));
    const last = (a, b) => Math.min(side - 1, Math.ceil(Math.max(a, b) + radius));
    for (let y = first(ay, by); y <= last(ay, by); y++) {
      for (let x = first(ax, bx); x <= last(ax, bx); x++) {
        const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
        const along = length > 0 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
        const [ex, ey] = [px - along * dx, py - along * dy];
        if (ex * ex + ey * ey <= radius * radius) ink[y * side + x] = 1;
      }
    }
  }

  /* The share of each pixel's places that are inked, 20x20. */
  function greyLevels(ink) {
    const grey = new Float32Array(BOX * BOX);
    ink.forEach((inked, at) => {
      const [y, x] = [Math.floor(at / (BOX * FINE)), at % (BOX * FINE)];
      grey[Math.floor(y / FINE) * BOX + Math.floor(x / FINE)] += inked / FINE ** 2;
    });
    return grey;
  }

  /* The 28x28 image whose centre of mass lies in the pixel right of and below the middle, as that of MNIST's digits,
     or as near to it as the ink, so many pixels wide and high, can come without leaving the image. */
  function centred(grey, inked) {
    let [mass, x, y] = [0, 0, 0];
    grey.forEach((value, at) => {
      mass += value;
      x += value * ((at % BOX) + 0.5);
      y += value * (Math.floor(at / BOX) + 0.5);
    });
    const move = (sum, axis) => Math.min(28 - inked[axis], Math.max(0, 14 - Math.floor(sum / mass)));
    const [left, top] = [x, y].map(move);
    const image = new Float32Array(28 * 28);
    grey.forEach((value, at) => {
      if (value > 0) image[(top + Math.floor(at / BOX)) * 28 + left + (at % BOX)] = value;
    });
    return image;
  }

  return { load, forward, prepare, PEN };
})();
