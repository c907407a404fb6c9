// What is known of the members: the chips are told, and their cards show it.

const facts = new Map(), listeners = new Set();

/** `states`: of all members, with their `facts`: [label, value, whether it stands on the card's face]. */
export function tellFacts(states) {
  for (const state of states) facts.set(state.name, state.facts);
  for (const listen of listeners) listen();
}

export const factsOf = (name) => facts.get(name) ?? [];

export const onFacts = (listen) => listeners.add(listen);
