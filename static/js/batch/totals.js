// What a batch's answers come to, and which of its rows are wanted.

import { comparedVerdict } from "../answer/verdict.js";
import { h, shortName } from "../page/elements.js";
import { t } from "../page/words.js";

/** Every outcome of a vote, with its words. `names`: of the answers' columns, the ensemble's first. */
const outcomesOf = (names) => [
  ...names.map((name, index) => [index ? `member:${name}` : "ensemble", t("vote.best", { name: shortName(name) })]), ["tie", t("vote.tie")], ["all-bad", t("vote.all-bad")],
];

export const outcomeOptions = (names) => outcomesOf(names).map(([value, text]) => h("option", { value, text }));

const plain = ({ text }) => text.trim().replace(/\s+/gu, " ").toLowerCase();

/** Whether the answers to a prompt differ in more than case and spaces. */
const isSplit = (run) => new Set(run.answers.map(plain)).size > 1;

/** A line with the number of prompts, of those answered differently, and of each vote. */
export function totalsOf(runs, names) {
  const votes = outcomesOf(names).map(([value, words]) => [words, runs.filter((run) => run.outcome === value).length]).filter(([, n]) => n);
  const without = runs.filter((run) => !run.outcome).length;
  return [t("batch.total", { n: runs.length }), t("batch.split.n", { n: runs.filter(isSplit).length }),
    ...votes.map(([words, n]) => `${words}: ${n}`), t("batch.without-vote.n", { n: without })].join(" · ");
}

/** What the ensemble wrote that no member did, and whether it was preferred to the member preferred most. */
export function verdictOf(runs, names) {
  if (!runs.length) return "";
  const own = runs.filter(({ answers: [ensemble, ...alone] }) => ensemble.text && ensemble.reason !== "error" && alone.every((answer) => plain(answer) !== plain(ensemble))).length;
  const votes = (outcome) => runs.filter((run) => run.outcome === outcome).length, voted = runs.filter((run) => run.outcome).length;
  const [rival] = names.slice(1).toSorted((one, other) => votes(`member:${other}`) - votes(`member:${one}`));
  const told = voted ? comparedVerdict({ rival: shortName(rival), wins: votes("ensemble"), losses: votes(`member:${rival}`), n: voted, what: t("rank.votes.n", { n: voted }) }) : "";
  return [t("helped.batch", { own, n: runs.length }), told].filter(Boolean).join(" ");
}

/** `answers`: "" for any, "split", "same"; `vote`: "" for any, "voted", "not-voted", an outcome. */
export function isWanted(run, answers, vote) {
  if (!run) return !answers && !vote;
  if (answers && isSplit(run) !== (answers === "split")) return false;
  return !vote || (vote === "voted" ? Boolean(run.outcome) : vote === "not-voted" ? !run.outcome : run.outcome === vote);
}
