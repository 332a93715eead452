// The host's pages: one shell, and the page that the address names. /host/games/ID is game.js, fetched when it is wanted.
import { Component, html, render, useContext, useEffect, useRef, useState } from "../ui/html.js";
import { t } from "../ui/i18n.js";
import { Brand, Dialog, Main, useToasts } from "../ui/parts.js";
import { Editor } from "./editor.js";
import { Library } from "./library.js";
import { Login, LoginForm } from "./login.js";
import { Saying } from "./parts.js";
import { follow, Link, navigate, usePath } from "./router.js";
import { begin, logOut, session } from "./session.js";

const PAGES = [
  [/^\/host\/?$/, () => html`<${Library} />`],
  [/^\/host\/login$/, () => html`<${Login} />`],
  [/^\/host\/quizzes\/new$/, () => html`<${Editor} key="new" quizId=${null} />`],
  [/^\/host\/quizzes\/([\w-]+)$/, (quizId) => html`<${Editor} key=${quizId} quizId=${quizId} />`],
  [/^\/host\/games\/([\w-]+)$/, (gameId) => html`<${Later} key=${gameId} from="./game.js" gameId=${gameId} />`],
];

function Host() {
  const path = usePath();
  const { state, host } = useSession();
  const [toasts, say] = useToasts();
  const first = useRef(true);
  useEffect(() => {
    const main = document.getElementById("main");
    if (!first.current && !main.contains(document.activeElement)) main.focus();
    first.current = false;
  }, [path]);
  useEffect(() => {
    if (state === "out" && path !== "/host/login") {
      navigate(`/host/login?next=${encodeURIComponent(path)}`, { replace: true });
    }
  }, [state, path]);
  return html`<${Saying.Provider} value=${say}>
    <a class="skip" href="#main">${t("host.skip")}</a>
    <${Topbar} host=${state === "out" ? null : host} />
    <${Main} id="main" class="fill">
      <${Fence} key=${path}>${page(path, state)}<//>
    <//>
    ${state === "ended" && html`<${LoginAgain} host=${host} />`}
    ${toasts}
  <//>`;
}

function page(path, state) {
  if (state === "out" && path !== "/host/login") return null;
  for (const [pattern, show] of PAGES) {
    const found = pattern.exec(path);
    if (found) return show(...found.slice(1));
  }
  return html`<div class="middle stack centred"><h1>${t("host.nothing_here")}</h1>
    <${Link} class="button primary" href="/host">${t("host.to_quizzes")}<//></div>`;
}

function Topbar({ host }) {
  const say = useContext(Saying);
  const leave = async () => {
    try {
      if (await navigate("/host")) await logOut();
    } catch {
      say(t("host.no_connection"));
    }
  };
  return html`<header class="topbar">
    <${Brand} href="/host" onClick=${follow("/host")} />
    ${host &&
    html`<span class="push muted small host-name" dir="auto">${host.name}</span>
      <button type="button" class="button quiet" onClick=${leave}>${t("host.log_out")}</button>`}
  </header>`;
}

/** The session ended while something was on the page: it stays there, and the call that failed goes on afterwards. */
function LoginAgain({ host }) {
  return html`<${Dialog} title=${t("host.session_ended")} lasting>
    <p>${t("host.session_ended_text")}</p>
    <${LoginForm} email=${host?.email} />
  <//>`;
}

/** A page whose module is fetched when it is first shown; it exports `Page`. */
function Later({ from, ...props }) {
  const [Page, set] = useState(null);
  const [failed, fail] = useState(false);
  useEffect(() => {
    import(from).then((module) => set(() => module.Page), () => fail(true));
  }, [from]);
  if (failed) return html`<p class="middle note" data-tone="bad">${t("host.no_connection")}</p>`;
  return Page ? html`<${Page} ...${props} />` : html`<p class="middle muted" role="status">${t("host.loading")}</p>`;
}

/** What a page's own fault looks like: a sentence and a way on, and never a white page. */
class Fence extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ children }, { error }) {
    if (!error) return children;
    return html`<div class="middle stack"><p class="note" data-tone="bad">${t("error.unknown")}</p>
      <button type="button" class="button" onClick=${() => location.reload()}>${t("host.reload")}</button></div>`;
  }
}

function useSession() {
  const [seen, set] = useState({ state: session.state, host: session.host });
  useEffect(() => {
    const look = () => set({ state: session.state, host: session.host });
    session.addEventListener("change", look);
    look();
    return () => session.removeEventListener("change", look);
  }, []);
  return seen;
}

await begin().catch(() => {}); // without a line: what the page asks for itself will say so
render(html`<${Host} />`, document.getElementById("app"));
