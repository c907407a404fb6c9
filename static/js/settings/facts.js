// What is known of the members: the chips are told, and their cards show it.

const known = new Map(), listeners = new Set();

/** `states`: of all members, with their `facts`: [label, value, whether it stands on the card's face], the `notice` that
 * their licence wants shown, or "", and whether all `answers` together. */
export function tellFacts(states) {
  for (const state of states) known.set(state.name, state);
  for (const listen of listeners) listen();
}

export const factsOf = (name) => known.get(name)?.facts ?? [];

/** What a member's licence wants said where it answers; mostly empty. */
export const noticeOf = (name) => known.get(name)?.notice ?? "";

/** The notices of those that have one: [name, notice]. */
export const allNotices = () => [...known.values()].filter(({ notice }) => notice).map(({ name, notice }) => [name, notice]);

/** Whether they answer. */
export const areReady = () => known.size > 0 && [...known.values()].every(({ phase, answers }) => answers && phase !== "failed");

/** Whether they will answer by and by. */
export const areLoading = () => known.size > 0 && [...known.values()].every(({ phase, answers }) => !answers && phase !== "failed");

export const onFacts = (listen) => listeners.add(listen);
