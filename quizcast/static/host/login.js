// Sign up and log in: one form with two faces.
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { Field } from "../ui/parts.js";
import { reason } from "./parts.js";
import { navigate } from "./router.js";
import { logIn, session, signUp } from "./session.js";

const PASSWORD_MIN = 8; // the server's

/** The page: afterwards one is where one wanted to be. */
export function Login() {
  const [fresh, setFresh] = useState(new URLSearchParams(location.search).has("new"));
  const there = () => {
    const next = new URLSearchParams(location.search).get("next") ?? "";
    navigate(/^\/host(\/|$)/.test(next) ? next : "/host", { replace: true });
  };
  useEffect(() => {
    document.title = `${t("host.log_in")} · quizcast`;
    if (session.state === "in") there();
  }, []);
  return html`<div class="middle narrow stack">
    <h1>${t(fresh ? "host.welcome_new" : "host.welcome_back")}</h1>
    <div class="segments" role="group" aria-label=${t("host.account")}>
      <button type="button" aria-pressed=${!fresh} onClick=${() => setFresh(false)}>${t("host.log_in")}</button>
      <button type="button" aria-pressed=${fresh} onClick=${() => setFresh(true)}>${t("host.sign_up")}</button>
    </div>
    <div class="card"><${LoginForm} key=${fresh} fresh=${fresh} onDone=${there} /></div>
  </div>`;
}

/** The fields; `email` is known where a session ended. */
export function LoginForm({ fresh = false, email = "", onDone }) {
  const [wish, set] = useState({ name: "", email, password: "" });
  const [shown, show] = useState(false);
  const [busy, work] = useState(false);
  const [wrong, fail] = useState({});
  const form = useRef(null);
  useEffect(() => form.current.querySelector("[autofocus]")?.focus(), []);

  const send = async (event) => {
    event.preventDefault();
    const found = look(wish, fresh);
    fail(found);
    const first = Object.keys(found)[0];
    if (first) return form.current.elements[first].focus();
    work(true);
    try {
      const { name, ...known } = wish;
      await (fresh ? signUp({ ...known, name: name.trim() }) : logIn(known));
      onDone?.();
    } catch (error) {
      const field = { email_taken: "email", credentials_wrong: "password" }[error.code];
      fail({ [field ?? fieldOf(error) ?? "form"]: reason(error) });
      if (field) form.current.elements[field].select();
      work(false);
    }
  };
  const input = (name, type, autocomplete) => html`<input id=${`login-${name}`} name=${name} type=${type} required
    autofocus=${name === (fresh ? "name" : email ? "password" : "email")} autocomplete=${autocomplete} autocapitalize="off" spellcheck=${false} value=${wish[name]} aria-invalid=${name in wrong}
    aria-describedby=${name in wrong ? `login-${name}-wrong` : null}
    onInput=${({ target }) => set((before) => ({ ...before, [name]: target.value }))} />`;
  return html`<form class="stack" novalidate ref=${form} onSubmit=${send}>
    ${fresh && html`<${Field} id="login-name" label=${t("host.name")} wrong=${wrong.name}>${input("name", "text", "name")}<//>`}
    <${Field} id="login-email" label=${t("host.email")} wrong=${wrong.email}>${input("email", "email", "username")}<//>
    <${Field} id="login-password" label=${t("host.password")} wrong=${wrong.password}
      hint=${fresh ? t("host.password_hint", { n: PASSWORD_MIN }) : null}>
      <div class="joined">
        ${input("password", shown ? "text" : "password", fresh ? "new-password" : "current-password")}
        <button type="button" class="button quiet" aria-pressed=${shown} onClick=${() => show(!shown)}>
          ${t(shown ? "host.password_hide" : "host.password_show")}</button>
      </div>
    <//>
    ${wrong.form && html`<p class="note" data-tone="bad" role="alert">${wrong.form}</p>`}
    <button class="button primary big block" disabled=${busy}>${t(fresh ? "host.sign_up" : "host.log_in")}</button>
  </form>`;
}

function look({ name, email, password }, fresh) {
  const wrong = {};
  if (fresh && !name.trim()) wrong.name = t("host.name_missing");
  if (!/^[^@\s]+@[^@\s]+$/.test(email)) wrong.email = t("host.email_wrong");
  if (!password) wrong.password = t("host.password_missing");
  else if (fresh && password.length < PASSWORD_MIN) wrong.password = t("host.password_short", { n: PASSWORD_MIN });
  return wrong;
}

function fieldOf(error) {
  return error.errors?.find(({ path }) => ["name", "email", "password"].includes(path))?.path;
}
