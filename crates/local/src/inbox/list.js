// Keeps the list fresh. The server renders and escapes it; this only puts it in place.
"use strict";

const REFRESH_MS = 2000;
const list = document.getElementById("list");
const search = document.getElementById("search");
const live = document.getElementById("live");
let shown = "";
let latest = 0;

function localTimes() {
  const format = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  for (const time of list.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    time.textContent = format.format(at);
    time.title = at.toLocaleString();
  }
}

async function refresh() {
  const mine = ++latest;
  try {
    const answer = await fetch("/list?q=" + encodeURIComponent(search.value));
    const html = await answer.text();
    if (mine !== latest) return;
    live.classList.toggle("lost", !answer.ok);
    if (answer.ok && html !== shown) {
      shown = html;
      list.innerHTML = html;
      localTimes();
    }
  } catch {
    live.classList.add("lost");
  }
}

search.addEventListener("input", () => {
  const query = search.value ? "?q=" + encodeURIComponent(search.value) : "/";
  history.replaceState(null, "", query);
  refresh();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
setInterval(() => {
  if (!document.hidden) refresh();
}, REFRESH_MS);
localTimes();
