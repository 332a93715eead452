// The list of a quiz's questions: choose one, move it, add one. A line is drawn anew only when it has changed, so that
// a quiz of hundreds of questions is as quick to write in as one of three.
import { Component, html, useEffect } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { Handle, useReorder } from "./reorder.js";

/** `onSelect(key)`, `onMove(from, to)`, `onRemove(key)`; `unfinished` is a set of keys. */
export function QuestionList({ questions, selected, unfinished, onSelect, onMove, onRemove }) {
  const { list, held, handle } = useReorder(onMove);
  useEffect(() => {
    list.current.querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  const keyed = (event) => {
    const place = [...list.current.children].indexOf(event.target.closest("li"));
    const to = { ArrowUp: place - 1, ArrowDown: place + 1, Home: 0, End: questions.length - 1 }[event.key];
    if (event.key === "Delete") return onRemove(questions[place].key);
    if (to === undefined || event.target.closest(".handle")) return;
    event.preventDefault();
    if (event.altKey) return onMove(place, to), requestAnimationFrame(() => focusLine(list.current, to));
    if (!questions[to]) return;
    onSelect(questions[to].key);
    focusLine(list.current, to);
  };
  return html`<ol class="question-list" ref=${list} onKeyDown=${keyed}>
    ${questions.map(
      (question, place) => html`<${Line} key=${question.key} question=${question} place=${place} current=${question.key === selected}
        unfinished=${unfinished.has(question.key)} held=${held === place} handle=${handle} onSelect=${onSelect} />`,
    )}
  </ol>`;
}

class Line extends Component {
  shouldComponentUpdate(next) {
    return ["question", "place", "current", "unfinished", "held"].some((name) => next[name] !== this.props[name]);
  }

  render({ question, place, current, unfinished, held, handle, onSelect }) {
    const prompt = question.prompt.trim() || t("editor.no_prompt");
    return html`<li data-held=${held} data-unfinished=${unfinished}>
      <${Handle} name=${t("editor.question_n", { n: place + 1 })} ...${handle(place)} />
      <button type="button" class="question-line" aria-current=${current} onClick=${() => onSelect(question.key)}>
        <span class="number">${place + 1}</span>
        <span class="what"><span class="clamp" dir="auto">${prompt}</span>
          <span class="small muted">${t(`editor.kind_${question.kind}`)}${unfinished && html` · <span class="todo">${t("editor.unfinished")}</span>`}</span></span>
      </button>
    </li>`;
  }
}

function focusLine(list, place) {
  list.children[place]?.querySelector(".question-line").focus();
}
