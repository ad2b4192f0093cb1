// Keeps an open invoice page true to what the server knows. It knows no rule of money and no word:
// it listens for hints, asks the status door, and loads the page anew when the server has news.

const page = document.querySelector("[data-invoice]");
const { revision, settlement, statusUrl, nudgePath, socketUrl } = page.dataset;
const networkStatus = Number(page.dataset.status);
const find = (name) => page.querySelector(`[data-${name}]`);

const SECOND = 1000;
const POLL_WITH_SOCKET = 20 * SECOND;
const POLL_WITHOUT_SOCKET = 10 * SECOND;
const POLL_WHEN_HIDDEN = 60 * SECOND;
const LONGEST_BACK_OFF = 30 * SECOND;
// A hint from the network may come before the server knows: it is asked again after these.
const ASK_AFTER_HINT = [0, 1, 2, 4, 8, 16].map((seconds) => seconds * SECOND);

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

let lookedAt = performance.now();
let isLeaving = false;

/** Asks the server; if it has news, the page is loaded anew, once for each news. */
async function look() {
  lookedAt = performance.now();
  let answer;
  try {
    const response = await fetch(statusUrl, { cache: "no-store" });
    if (!response.ok) return false;
    answer = await response.json();
  } catch {
    return false; // offline, or the server restarts: the next look will do
  }
  if (answer.revision === revision) return false;
  // Two answers on their way must not mark the later news as shown by the page of the earlier.
  if (isLeaving) return true;
  if (sessionStorage.getItem(statusUrl) === answer.revision) return false;
  sessionStorage.setItem(statusUrl, answer.revision);
  const typed = page.querySelector("input[name=email]")?.value;
  sessionStorage.setItem("news", JSON.stringify([statusUrl, settlement, scrollY, typed]));
  isLeaving = true;
  setTimeout(() => (isLeaving = false), LONGEST_BACK_OFF); // should somebody have stopped it
  // Not reload(): that asks for every file anew.
  location.replace(location.pathname);
  return true;
}

/** After news: nothing has jumped or is lost, a screen reader hears the new heading, and a notification tells. */
function arrive() {
  if (sessionStorage.getItem(statusUrl) === revision) sessionStorage.removeItem(statusUrl);
  const [url, before, position, typed] = JSON.parse(sessionStorage.getItem("news") ?? "[]");
  sessionStorage.removeItem("news");
  if (url !== statusUrl) return;
  const field = page.querySelector("input[name=email]");
  if (typed && field) field.value = typed;
  const heading = page.querySelector("h1").textContent.trim();
  scrollTo(0, before === settlement ? position : 0);
  setTimeout(() => (find("live").textContent = heading), SECOND / 2); // once readers listen
  if (!nudgePath && document.hidden) notify(heading);
}

function notify(words) {
  if (globalThis.Notification?.permission !== "granted") return;
  try {
    new Notification(words, { body: document.title, tag: statusUrl });
  } catch {
    // phones want a service worker for it; the title tells as well
  }
}

function offerNotification(place) {
  if (globalThis.Notification?.permission !== "default") return;
  const button = place.querySelector("button");
  place.hidden = false;
  button.addEventListener("click", async () => {
    const answer = await Notification.requestPermission();
    if (answer === "granted") button.textContent = button.dataset.words;
    else place.hidden = true;
  });
}

let hinted = false;

/** The network has something new: the server will have it as well, within moments. */
async function lookUntilNews() {
  if (hinted) return;
  hinted = true;
  for (const time of ASK_AFTER_HINT) {
    await pause(time);
    if (await look()) return;
  }
  hinted = false;
}

const openSockets = new Set();

/** Keeps a socket open: again after 1, 2, 4 … 30 seconds, with some chance mixed in. */
function listen(url, onMessage, onOpen, failures = 0) {
  let socket;
  try {
    socket = new WebSocket(url);
  } catch {
    return; // blocked by the browser: polling goes on
  }
  socket.onopen = () => {
    failures = 0;
    openSockets.add(url);
    onOpen?.();
  };
  socket.onmessage = (event) => onMessage(event.data);
  socket.onclose = () => {
    openSockets.delete(url);
    const backOff = Math.min(LONGEST_BACK_OFF, SECOND * 2 ** failures);
    setTimeout(() => listen(url, onMessage, onOpen, failures + 1), backOff * (0.5 + Math.random()));
  };
}

/** What Blockonomics says of the address; its word is a hint only. */
function hear(message) {
  let payment;
  try {
    payment = JSON.parse(message);
  } catch {
    return;
  }
  if (Number.isInteger(payment?.status) && payment.status > networkStatus) lookUntilNews();
}

/** A hidden tab asks seldom, and not at all while nudges come: its title, icon and notification tell. */
function keepAsking(nudges) {
  setTimeout(
    async () => {
      const rests = openSockets.has(nudges) || performance.now() - lookedAt < POLL_WHEN_HIDDEN;
      if (!document.hidden || !rests) await look();
      keepAsking(nudges);
    },
    openSockets.size ? POLL_WITH_SOCKET : POLL_WITHOUT_SOCKET,
  );
}

/** Counts down by this page's own clock: the visitor's may be wrong. */
function countDown(place, end) {
  const left = Math.ceil((end - Date.now()) / SECOND);
  if (left <= 0) {
    look(); // again and again: the server's clock decides, and may be a moment behind
    setTimeout(() => countDown(place, end), 2 * SECOND);
    return;
  }
  const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  place.textContent = place.dataset.words.replace("{time}", time);
  setTimeout(() => countDown(place, end), SECOND);
}

function offerCopying(button) {
  if (!navigator.clipboard) return;
  const words = button.innerHTML;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    find("live").textContent = button.textContent = button.dataset.words;
    setTimeout(() => (button.innerHTML = words), 2 * SECOND);
  });
}

function tellOfTheNetwork() {
  const place = find("offline");
  place.hidden = navigator.onLine;
  place.textContent = navigator.onLine ? "" : place.dataset.words;
}

arrive();
document.querySelectorAll("[data-copy]").forEach(offerCopying);

// A page that is paid has nothing to wait for.
if (nudgePath) {
  const countdown = find("countdown");
  if (countdown) countDown(countdown, Date.now() + page.dataset.secondsLeft * SECOND);
  if (find("tell")) offerNotification(find("tell"));

  const nudges = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${nudgePath}`;
  listen(nudges, look, look); // at first, for what happened while nobody listened
  if (socketUrl) listen(socketUrl, hear);
  keepAsking(nudges);

  // A sleeping tab wakes, the network is back, the page comes out of the back-forward cache.
  document.addEventListener("visibilitychange", () => document.hidden || look());
  addEventListener("online", look);
  addEventListener("pageshow", (event) => event.persisted && look());
  for (const name of ["online", "offline"]) addEventListener(name, tellOfTheNetwork);
  tellOfTheNetwork();
}
