// A report's figures, from the results: pure, so that a page can be sure of them.

const SLICES = 8; // of the time in which answers came

/**
 * Each question with what it came to. `right` is the share of the answers that were wholly right (null where nothing
 * can be), `medianMs` from opening to answer, `times` how many came in each eighth of the time that was needed, from so many seconds on.
 * @param {object} results as the API gives them
 */
export function figures({ questions, ranking }) {
  return questions.map((question) => {
    const given = ranking.map((line) => line.answers[question.index]).filter((answer) => answer !== null);
    const marked = given.filter((answer) => answer.correct !== null);
    const asked = question.opens_at !== undefined;
    const tookMs = asked ? given.map((answer) => Math.max(0, answer.received_at - question.opens_at)).sort((a, b) => a - b) : [];
    return {
      ...question,
      asked,
      answers: given.length,
      right: marked.length ? marked.filter((answer) => answer.correct).length / marked.length : null,
      medianMs: median(tookMs),
      times: slices(tookMs),
    };
  });
}

function median(sorted) {
  if (!sorted.length) return null;
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function slices(tookMs) {
  if (!tookMs.length) return [];
  const width = Math.max(1, Math.ceil(tookMs.at(-1) / 1000)) * (1000 / SLICES);
  const made = Array.from({ length: SLICES }, (_, slice) => ({ from: Math.round((slice * width) / 100) / 10, count: 0 }));
  for (const ms of tookMs) made[Math.min(SLICES - 1, Math.floor(ms / width))].count += 1;
  return made;
}
