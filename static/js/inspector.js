// The token inspector: docked beside the answers on wide screens, a sheet at the bottom on narrow ones.

const FOLLOW_MS = 70; // arrow keys may run over many tokens; only where they rest is asked about

class Inspector {
  /** `actions`: {onBranch(position, tokenId), onMove(step), onClose(), onShown()}; `fetchStep(stream, position)` -> reply. */
  constructor(root, fetchStep, actions) {
    Object.assign(this, { root, fetchStep, actions, cache: new Map(), at: null, run: null, timer: 0 });
    this.clear(null);
  }

  get isOpen() {
    return this.at !== null;
  }

  clear(run) {
    this.run = run;
    this.cache.clear();
    this.close();
  }

  close() {
    this.at = null;
    clearTimeout(this.timer);
    this.root.classList.remove("is-open");
    this.root.replaceChildren(h("div", { class: "gac-inspector-empty" },
      h("h3", { text: "Token inspector" }),
      h("p", { text: "Choose a token to see what the gate thought, what each member wanted, and what else could have been written." })));
  }

  show(stream, position, isLater = false) {
    this.at = `${stream.key} ${position}`;
    this.stream = stream;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(stream, position, this.at), isLater ? FOLLOW_MS : 0);
  }

  async load(stream, position, at) {
    let reply = this.cache.get(at);
    if (!reply) {
      reply = (await this.fetchStep(stream, position)) ?? { error: "The server did not answer. Try again." };
      // While it streams, what follows may still tell more about this token.
      if (!reply.error && stream.end) this.cache.set(at, reply);
    }
    if (this.at !== at) return; // another token was chosen meanwhile
    const scroll = this.root.scrollTop;
    this.root.replaceChildren(...(reply.error ? [this.head(position), h("p", { class: "gac-card-note is-error", text: reply.error })] : this.body(stream, reply)));
    this.root.classList.add("is-open");
    this.root.scrollTop = scroll;
    this.actions.onShown();
  }

  memberIndex = (name = null) => {
    const index = name === null ? this.stream.member : this.run.members.indexOf(name);
    return index < 0 ? "all" : index % 6;
  };

  head(position) {
    const move = (step, text, label) => h("button", { type: "button", class: "gac-icon", text, "aria-label": label, onclick: () => this.actions.onMove(step) });
    return h("header", {},
      h("h3", { text: `Token ${position + 1}` }), h("span", { class: "gac-spacer" }),
      move(-1, "‹", "Previous token"), move(1, "›", "Next token"),
      h("button", { type: "button", class: "gac-icon", text: "Close", title: "Close (Esc)", onclick: () => this.actions.onClose() }));
  }

  body(stream, step) {
    const isEnsemble = stream.member < 0;
    const branch = isEnsemble ? (candidate) => this.actions.onBranch(step.position, candidate.id) : null;
    return [
      this.head(step.position),
      h("p", { class: "gac-chosen" }, h("bdi", { class: step.is_end ? "gac-label is-end" : "gac-label", text: step.label }),
        h("span", { text: probability(step.prob) })),
      h("p", { class: "gac-verdict", text: isEnsemble ? verdict(step) : "This member answers alone: nothing was combined." }),
      isEnsemble && step.mode === "gate" ? gauge(step) : null,
      opennessNote(step, stream.tokens[step.position]),
      ...(isEnsemble && step.members.length > 1 ? weightsAt(step, this.memberIndex) : []),
      h("h4", { text: step.is_ensembled && isEnsemble ? "Combined" : "What could have come" }),
      candidateBars(step.top, this.memberIndex, branch),
      ...(isEnsemble ? step.members.map((member) => this.member(member, step, branch)) : []),
      isEnsemble ? this.notAsked(step) : null,
      ...(isEnsemble ? [] : step.members.map((member) => h("p", { class: "gac-small", text: reading(member) }))),
    ].filter(Boolean);
  }

  member(member, step, branch) {
    const index = this.run.members.indexOf(member.name);
    return h("section", { class: "gac-inspected" },
      h("h4", {}, memberName(member.name, index), h("span", { class: "gac-weight", text: `weight ${probability(member.weight)}` })),
      h("p", { class: "gac-small" }, `gave it ${probability(member.prob)}${member.includes_longer ? " with what begins with it" : ""}, its ${ordinal(member.rank)} choice`),
      candidateBars(member.top, () => index % 6, branch),
      coverLine(step.covers[member.name], step.position),
      h("p", { class: "gac-small", text: reading(member) }));
  }

  notAsked(step) {
    const asked = new Set(step.members.map((member) => member.name));
    const rest = this.run.members.filter((name) => !asked.has(name) && !step.dropped.includes(name));
    const lines = [];
    if (rest.length) lines.push(`${step.mode === "agreement" ? "Took no part" : "Not asked"}: ${rest.join(", ")}.`);
    if (step.dropped.length) lines.push(`Lost to a failure: ${step.dropped.join(", ")}.`);
    return lines.length ? h("p", { class: "gac-small", text: lines.join(" ") }) : null;
  }
}

function verdict(step) {
  if (step.is_forced) return "Given, not decided here: a branch repeats the answer that it comes from, then takes the token that was picked.";
  const sure = probability(step.confidence);
  if (!step.is_ensembled && step.mode === "agreement") return `${step.gate} decided alone: the others wanted the same, or cut the text otherwise here.`;
  if (!step.is_ensembled) return `${step.gate} was ${sure} sure and decided alone.`;
  const carried = `${step.winner} carried this token.`;
  if (step.mode === "agreement") return `The members wanted different tokens, so all took part. ${carried}`;
  return step.mode === "gate" ? `${step.gate} was only ${sure} sure, so the others were asked. ${carried}` : `All members were asked. ${carried}`;
}

function gauge(step) {
  return h("div", { class: "gac-gauge", role: "img", "aria-label": `Gate confidence ${percent(step.confidence)}, threshold ${percent(step.threshold)}` },
    h("i", { style: `width:${(Math.min(1, step.confidence) * 100).toFixed(1)}%` }),
    h("b", { style: `left:${(Math.min(1, step.threshold) * 100).toFixed(1)}%`, title: `threshold ${percent(step.threshold)}` }));
}

function reading(member) {
  const took = `${member.ms < 10 ? member.ms.toFixed(1) : Math.round(member.ms)} ms`;
  if (member.num_read === 0) return "needed no forward pass";
  return member.num_read > 1 ? `read ${member.num_read} tokens to catch up, ${took}` : `read 1 token, ${took}`;
}

function ordinal(rank) {
  const tail = rank % 100 >= 11 && rank % 100 <= 13 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[rank % 10] ?? "th";
  return rank === 1 ? "first" : `${rank}${tail}`;
}
