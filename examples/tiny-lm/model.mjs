// The model behind tiny-lm.mjs: a character-level neural language model with its backward pass written out by hand.
// The last `context` characters → their embeddings, side by side → one tanh layer → probabilities of the next character.
//   M1. All weights lie in one vector; `views` names its parts. Adam, checkpoints and the gradient check see only the vector.
//   M2. Chance depends on seed and step alone: a run resumed from a checkpoint equals an uninterrupted one to the last bit.
//   M3. Character 0 is the line end. It also fills the context before a line begins.
import { createHash } from "node:crypto";

/** A model of `shape` {vocabulary, context, embedding, hidden} with random weights. */
export function createModel(shape, seed) {
  const weights = new Float64Array(layoutOf(shape).size);
  const random = randomNumbers(`${seed}:weights`);
  const { embeddings, inner, outer } = views(weights, shape);
  const spreads = [[embeddings, 1], [inner, 1 / Math.sqrt(shape.context * shape.embedding)], [outer, 1 / Math.sqrt(shape.hidden)]];
  for (const [matrix, spread] of spreads) for (let i = 0; i < matrix.length; i++) matrix[i] = (2 * random() - 1) * spread;
  return { shape, step: 0, weights, mean: new Float64Array(weights.length), square: new Float64Array(weights.length) };
}

/**
 * Mean cross-entropy in nats per character, and the share of characters for which the likeliest guess was right, over the examples
 * named by `rows`. Where `gradient` is given, it receives the slope of that loss along every weight: the backward pass.
 */
export function lossOf(model, examples, rows, gradient) {
  const { context, embedding, hidden, vocabulary } = model.shape;
  const letters = vocabulary.length;
  const w = views(model.weights, model.shape);
  const g = gradient && views(gradient.fill(0), model.shape);
  const layers = layersFor(model.shape);
  const stateSlope = new Float64Array(hidden);
  let [loss, hits] = [0, 0];

  for (const row of rows) {
    const past = examples.contexts.subarray(row * context, (row + 1) * context);
    const target = examples.targets[row];
    const { input, state, odds } = forward(w, past, layers);
    loss -= Math.log(odds[target]);
    if (odds.indexOf(Math.max(...odds)) === target) hits++;
    if (!g) continue;

    // At the logits the slope of softmax with cross-entropy is the probability, less 1 at the target.
    const slope = odds;
    slope[target] -= 1;
    for (let k = 0; k < letters; k++) g.outerBias[k] += slope[k] /= rows.length;
    for (let j = 0; j < hidden; j++) {
      stateSlope[j] = backThroughRow(slope, state[j], w.outer, g.outer, j * letters) * (1 - state[j] ** 2); // tanh' = 1 − tanh²
      g.innerBias[j] += stateSlope[j];
    }
    for (let i = 0; i < input.length; i++) {
      const place = past[Math.floor(i / embedding)] * embedding + (i % embedding);
      g.embeddings[place] += backThroughRow(stateSlope, input[i], w.inner, g.inner, i * hidden);
    }
  }
  return { loss: loss / rows.length, accuracy: hits / rows.length };
}

/** One step of Adam on a random mini-batch. Returns the batch's loss, the gradient's norm and the learning rate used. */
export function trainStep(model, examples, { batch, learningRate, steps, seed }, gradient) {
  const random = randomNumbers(`${seed}:step:${++model.step}`);
  const rows = Array.from({ length: batch }, () => Math.floor(random() * examples.targets.length));
  const { loss } = lossOf(model, examples, rows, gradient);
  const rate = learningRate * (0.525 + 0.475 * Math.cos((Math.PI * model.step) / steps)); // falls to 5 % along a cosine
  const [meanTrust, squareTrust] = [1 - 0.9 ** model.step, 1 - 0.99 ** model.step]; // the averages began at 0
  let sum = 0;
  for (let i = 0; i < gradient.length; i++) {
    const slope = gradient[i];
    sum += slope * slope;
    model.mean[i] += 0.1 * (slope - model.mean[i]);
    model.square[i] += 0.01 * (slope * slope - model.square[i]);
    model.weights[i] -= (rate * model.mean[i]) / meanTrust / (Math.sqrt(model.square[i] / squareTrust) + 1e-8);
  }
  return { loss, rate, gradientNorm: Math.sqrt(sum) };
}

/** One line drawn from the model character by character. A temperature below 1 favours what is likely anyway. */
export function sampleLine(model, random, temperature) {
  const [w, layers] = [views(model.weights, model.shape), layersFor(model.shape)];
  let [past, line] = [new Array(model.shape.context).fill(0), ""];
  while (line.length < 40) {
    const { odds } = forward(w, past, layers, temperature);
    let [next, left] = [0, random()];
    while (next < odds.length - 1 && (left -= odds[next]) > 0) next++;
    if (next === 0) break;
    line += model.shape.vocabulary[next];
    past = [...past.slice(1), next];
  }
  return line;
}

/** Every (context → next character) of `lines`, as indexes into `vocabulary`. Throws on a character that is not in it. */
export function examplesOf(lines, { vocabulary, context }) {
  const [contexts, targets] = [[], []];
  for (const line of lines) {
    let past = new Array(context).fill(0);
    for (const character of line + "\n") {
      const index = vocabulary.indexOf(character);
      if (index < 0) throw new Error(`"${line}" holds "${character}", which the model was never trained on: train it on text that holds it, or leave the line out.`);
      contexts.push(...past);
      targets.push(index);
      past = [...past.slice(1), index];
    }
  }
  return { contexts: Uint16Array.from(contexts), targets: Uint16Array.from(targets) };
}

/** The characters of `lines`, the line end first. */
export function vocabularyOf(lines) {
  return "\n" + [...new Set(lines.join(""))].sort().join("");
}

/** A repeatable source of numbers in [0, 1): mulberry32, begun from a hash of `key`. */
export function randomNumbers(key) {
  let state = createHash("sha256").update(key).digest().readUInt32BE(0);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where each part lies in the vector of all weights. */
function layoutOf({ vocabulary, context, embedding, hidden }) {
  const letters = vocabulary.length;
  const lengths = { embeddings: letters * embedding, inner: context * embedding * hidden, innerBias: hidden, outer: hidden * letters, outerBias: letters };
  let size = 0;
  const parts = Object.entries(lengths).map(([name, length]) => ({ name, from: size, to: (size += length) }));
  return { parts, size };
}

function views(vector, shape) {
  return Object.fromEntries(layoutOf(shape).parts.map(({ name, from, to }) => [name, vector.subarray(from, to)]));
}

function layersFor({ vocabulary, context, embedding, hidden }) {
  return { embedding, input: new Float64Array(context * embedding), state: new Float64Array(hidden), odds: new Float64Array(vocabulary.length) };
}

/** Fills `layers` for one context: its embeddings, the hidden state, and the probability of each next character. */
function forward(w, past, layers, temperature = 1) {
  const { embedding, input, state, odds } = layers;
  past.forEach((letter, c) => input.set(w.embeddings.subarray(letter * embedding, (letter + 1) * embedding), c * embedding));
  state.set(w.innerBias);
  for (let i = 0; i < input.length; i++) addRow(state, input[i], w.inner, i * state.length);
  for (let j = 0; j < state.length; j++) state[j] = Math.tanh(state[j]);
  odds.set(w.outerBias);
  for (let j = 0; j < state.length; j++) addRow(odds, state[j], w.outer, j * odds.length);
  const top = Math.max(...odds); // subtracted, so that exp cannot overflow
  let sum = 0;
  for (let k = 0; k < odds.length; k++) sum += odds[k] = Math.exp((odds[k] - top) / temperature);
  for (let k = 0; k < odds.length; k++) odds[k] /= sum;
  return layers;
}

/** out += value · (the row of `matrix` that begins at `start`) */
function addRow(out, value, matrix, start) {
  for (let k = 0; k < out.length; k++) out[k] += value * matrix[start + k];
}

/** The way back through addRow: adds to the row's gradient and returns the slope along `value`. */
function backThroughRow(outSlope, value, matrix, matrixGradient, start) {
  let slope = 0;
  for (let k = 0; k < outSlope.length; k++) {
    slope += outSlope[k] * matrix[start + k];
    matrixGradient[start + k] += outSlope[k] * value;
  }
  return slope;
}
