// Keeps the parts marked data-live fresh while somebody looks at the page.
// The server renders them; the page works the same without this.

const PAUSE_MS = 2500;

async function refresh() {
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length || document.hidden) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of parts) replace(part, fresh.getElementById(part.id));
}

function replace(part, fresh) {
  if (!fresh || part.contains(document.activeElement)) return;
  if (textOf(part) !== textOf(fresh)) part.replaceWith(document.adoptNode(fresh));
}

// The hidden form tokens differ in every answer; only what is read counts.
function textOf(part) {
  return part.textContent.replace(/\s+/g, " ");
}

async function run() {
  try {
    await refresh();
  } catch {
    // The server is away for a moment; the next round asks again.
  }
  setTimeout(run, PAUSE_MS);
}

setTimeout(run, PAUSE_MS);
