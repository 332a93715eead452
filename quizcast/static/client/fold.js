/** What all events so far come to. Pure: a snapshot with the events since folded onto it is the snapshot of now. */

const JOINED_MAX = 100;

/**
 * @typedef {object} View
 * @property {"lobby" | "question" | "closed" | "finished" | null} phase null before the first snapshot
 * @property {number | null} index of the question that is open, or was last
 * @property {number} count of questions
 * @property {number} participants
 * @property {string} pin
 * @property {string} title the quiz's
 * @property {"both" | "phones" | "screen"} questionOn where the host wants the question's text to be shown
 * @property {object | null} question data of that event, while it is open and until the next
 * @property {object | null} closed data of that event, until the next question
 * @property {object | null} result data of that event, until the next question
 * @property {object | null} leaderboard data of that event, until the next question; at the end, that of `finished`
 * @property {object | null} finished data of that event
 * @property {{ participant_id: string, nickname: string, score: number, rank: number | null, streak: number, answered: boolean, answer: any } | null} me
 * @property {{ index: number, answered: number, eligible: number } | null} progress while a question is open
 * @property {string[]} joined the latest nicknames, oldest first, at most 100 of those who came while we listened
 * @property {{ reason: string } | null} kicked
 */

/** @type {Readonly<View>} */
export const EMPTY = Object.freeze({
  phase: null,
  index: null,
  count: 0,
  participants: 0,
  pin: "",
  title: "",
  questionOn: "both",
  question: null,
  closed: null,
  result: null,
  leaderboard: null,
  finished: null,
  me: null,
  progress: null,
  joined: [],
  kicked: null,
});

/**
 * The next view; the same object when nothing changes.
 * @param {View} view
 * @param {string} name an event of the contract, or "answered" ({ index, answer }): a receipt that we had ourselves
 * @param {any} data
 * @returns {View}
 */
export function fold(view, name, data) {
  switch (name) {
    case "snapshot":
      return {
        ...EMPTY,
        phase: data.phase,
        index: data.question_index,
        count: data.question_count,
        participants: data.participants,
        pin: data.pin,
        title: data.title,
        questionOn: data.question_on,
        question: data.question ?? null,
        closed: data.closed ?? null,
        leaderboard: data.leaderboard ?? null,
        finished: data.phase === "finished" ? (data.leaderboard ?? null) : null,
        me: data.me ?? null,
        result: data.result ?? null,
        progress: data.progress ?? null,
        joined: view.joined,
      };
    case "question":
      return {
        ...view,
        phase: "question",
        index: data.index,
        count: data.count,
        question: data,
        closed: null,
        result: null,
        leaderboard: null,
        progress: null,
        me: view.me && { ...view.me, answered: false, answer: null },
      };
    case "extended":
      if (data.index !== view.question?.index) return view;
      return { ...view, question: { ...view.question, closes_at: data.closes_at } };
    case "closed":
      return { ...view, phase: "closed", index: data.index, closed: data, progress: null };
    case "result": {
      const { score, rank, streak, answer } = data;
      const present = view.phase === "closed" && data.index === view.index; // the host may have gone on at once
      const me = view.me && { ...view.me, score, rank, streak, ...(present && { answered: answer !== null, answer }) };
      return { ...view, me, result: present ? data : view.result };
    }
    case "leaderboard":
      return { ...view, leaderboard: data, participants: data.participants };
    case "finished":
      return {
        ...view,
        phase: "finished",
        question: null,
        closed: null,
        result: null,
        progress: null,
        leaderboard: data,
        finished: data,
        participants: data.participants,
      };
    case "lobby":
      return { ...view, participants: data.participants, joined: [...view.joined, ...data.joined].slice(-JOINED_MAX) };
    case "progress":
      return data.index === view.index && view.phase === "question" ? { ...view, progress: data } : view;
    case "answered":
      if (data.index !== view.index || !view.me) return view;
      return { ...view, me: { ...view.me, answered: true, answer: data.answer } };
    case "kicked":
      return { ...view, kicked: data };
    default: // heartbeat, drain, reset, and what later versions send
      return view;
  }
}
