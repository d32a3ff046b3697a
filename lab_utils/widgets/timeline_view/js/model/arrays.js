// Arrays that Python packed into one buffer (arrays.py).
const TYPES = { f8: Float64Array, i4: Int32Array, u1: Uint8Array };

// {name: typed array}; table: {name: [type, first byte, length]}; view: the buffer as a DataView.
function unpacked(table, view) {
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength); // arrays need an aligned start
  const array = ([type, first, length]) => new TYPES[type](bytes, first, length);
  return Object.fromEntries(Object.entries(table).map(([name, entry]) => [name, array(entry)]));
}

// First position in from .. to - 1 whose value is more than `least`; values rise.
function firstAbove(values, least, from, to) {
  while (from < to) {
    const middle = (from + to) >> 1;
    if (values[middle] > least) to = middle;
    else from = middle + 1;
  }
  return from;
}
