// Fills the {placeholders} of a sentence of WORDS, the widget's catalogue, which Python puts before the scripts.
function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Error(`no value for {${name}} of "${sentence}"`);
    return values[name];
  });
}
