// Who takes part: a page at a time, with a look after those who should not be there; and the door.
import { html, useContext, useEffect, useState } from "../ui/html.js";
import { t, tNumber } from "../ui/i18n.js";
import { Confirm, Menu, reason, Saying } from "./parts.js";
import { api } from "./session.js";

const PAGE = 50;
const LOOK_MS = 5000;

/** `onLock(locked)` opens or shuts the door for new participants. */
export function People({ gameId, view, locked, onLock }) {
  const [shown, show] = useState(false);
  const [most, more] = useState(PAGE);
  const [people, set] = useState({ items: [], next: null });
  const [asked, ask] = useState(null); // whom to kick or ban
  const say = useContext(Saying);
  const look = async () => {
    const items = [];
    let cursor = "";
    do {
      const query = new URLSearchParams({ limit: Math.min(100, most - items.length), ...(cursor && { cursor }) });
      const page = await api("GET", `/games/${gameId}/participants?${query}`);
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor && items.length < most);
    set({ items, next: cursor });
  };
  useEffect(() => {
    if (!shown) return;
    const again = () => look().catch(() => {});
    again();
    const timer = setInterval(again, LOOK_MS);
    return () => clearInterval(timer);
  }, [shown, most, view.participants, view.phase]);

  const remove = async ({ person, ban }) => {
    ask(null);
    try {
      await api("DELETE", `/games/${gameId}/participants/${person.participant_id}?ban=${ban}`);
      set(({ items, next }) => ({ items: items.filter((one) => one !== person), next }));
    } catch (error) {
      say(reason(error));
    }
  };
  return html`<section class="card stack">
    <div class="row">
      <h2>${t("control.people")}</h2>
      <label class="tick push"><input type="checkbox" checked=${locked} onChange=${({ target }) => onLock(target.checked)} /> ${t("control.locked")}</label>
    </div>
    <details onToggle=${({ target }) => show(target.open)}>
      <summary>${t("play.participants", { n: view.participants })}</summary>
      <ul class="people">
        ${people.items.map(
          (person) => html`<li key=${person.participant_id} class="row">
            <span class="number muted">${person.rank === null ? "" : tNumber(person.rank)}</span>
            <span class="fill" dir="auto">${person.nickname}</span>
            ${!person.connected && html`<span class="chip small" data-tone="bad">${t("control.is_gone")}</span>`}
            <span class="number">${tNumber(person.score)}</span>
            <${Menu} label=${t("control.about", { name: person.nickname })}>
              <button type="button" class="button quiet" onClick=${() => ask({ person, ban: false })}>${t("control.kick")}</button>
              <button type="button" class="button quiet danger" onClick=${() => ask({ person, ban: true })}>${t("control.ban")}</button>
            <//>
          </li>`,
        )}
      </ul>
      ${people.next && html`<button type="button" class="button quiet" onClick=${() => more(most + PAGE)}>${t("control.more_people")}</button>`}
    </details>
    ${asked &&
    html`<${Confirm} danger title=${t(asked.ban ? "control.ban_title" : "control.kick_title", { name: asked.person.nickname })}
      text=${t(asked.ban ? "control.ban_text" : "control.kick_text")} yes=${t(asked.ban ? "control.ban" : "control.kick")}
      onYes=${() => remove(asked)} onNo=${() => ask(null)} />`}
  </section>`;
}
