"use strict";
// Every page works without this, but for growing answers and uploads. Text becomes text nodes, never markup.

const typing = (target) => target.closest("input:not([type=checkbox]), textarea, select") !== null;
const results = () => [...document.querySelectorAll("a.open, .source a")];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = document.getElementById("q");
  if (event.key === "/" && field && (!typing(event.target) || (event.target === field && !field.value))) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "Escape" && event.target === field) {
    field.blur();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (event.target === field || !typing(event.target))) {
    const found = results();
    const at = found.indexOf(document.activeElement);
    if (!found.length || (at < 0 && event.target !== field && event.target !== document.body)) return;
    event.preventDefault();
    const next = event.key === "ArrowDown" ? at + 1 : at - 1;
    if (next < 0) field?.focus();
    else found[Math.min(next, found.length - 1)].focus();
  }
});

const make = (name, properties, ...children) => {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
};

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").filter((line) => !line.startsWith(":"));
      const field = (name) => lines.find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
      if (field("event")) yield { name: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

const notice = (problem) =>
  make("p", { className: "notice", role: "alert" }, make("strong", {}, problem.detail ?? String(problem)), " ", problem.cure ?? "");

function addressOf(index, citation, question) {
  const path = `/indexes/${encodeURIComponent(index)}/documents/${citation.document_id}`;
  return `${path}?${new URLSearchParams({ passage: citation.chunk_id, q: question })}#p-${citation.chunk_id}`;
}

function withCitations(text, citations) {
  const known = new Map(citations.map((each) => [String(each.number), each]));
  const parts = [];
  for (const piece of text.split(/(\[\d+(?:, ?\d+)*\])/)) {
    const numbers = /^\[(.*)\]$/.exec(piece)?.[1].split(/, ?/);
    if (!numbers || !numbers.every((number) => known.has(number))) {
      parts.push(piece);
      continue;
    }
    for (const number of numbers) {
      const link = make("a", { className: "cite", href: `#source-${number}` }, number);
      link.setAttribute("aria-label", `Source ${number}: ${known.get(number).document}`);
      parts.push(link);
    }
  }
  return parts;
}

// Headings and tables say little in a line or two.
const plain = (text) => text.replace(/^(#{1,6} |\|).*$/gm, "").replace(/\s+/g, " ").trim() || text;

function light(number) {
  for (const each of document.querySelectorAll(".source")) each.classList.toggle("lit", each.id === `source-${number}`);
}

async function ask(place) {
  const { index, question, filters } = place.dataset;
  const answer = document.getElementById("answer");
  const progress = document.getElementById("progress");
  const sources = document.getElementById("sources");
  const began = performance.now();
  const fail = (problem) => {
    answer.classList.remove("growing");
    progress.replaceChildren();
    answer.after(notice(problem));
  };
  try {
    const response = await fetch(`/api/indexes/${encodeURIComponent(index)}/ask`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question, filters: JSON.parse(filters) }),
    });
    if (!response.ok) return fail(await response.json());
    for await (const { name, data } of eventsOf(response)) {
      if (name === "text") {
        progress.textContent = "Answering …";
        answer.append(data.text);
      } else if (name === "problem") {
        fail(data);
      } else if (name === "answer") {
        answer.classList.remove("growing");
        answer.replaceChildren(...withCitations(data.answer ?? "", data.citations));
        const seconds = ((performance.now() - began) / 1000).toFixed(1);
        progress.textContent = data.citations.length
          ? `Answered in ${seconds} s from ${data.citations.length} source${data.citations.length > 1 ? "s" : ""}; check them before you rely on it.`
          : data.nothing_found
            ? "Not answered from the documents."
            : "This answer cites no passage: check it against the passages.";
        if (data.did_you_mean) progress.textContent += ` Did you mean: ${data.did_you_mean.replace(/\?*$/, "?")}`;
        document.getElementById("sources-title").hidden = !data.citations.length;
        for (const each of data.citations) {
          const at = [each.page ? `page ${each.page}` : "", each.heading.replaceAll(" > ", " › ")].filter(Boolean).join(" · ");
          const link = make("a", { href: addressOf(index, each, question) }, each.document);
          const told = make("div", {}, link, make("div", { className: "where" }, at));
          sources.append(
            make("li", { className: "source", id: `source-${each.number}` }, make("b", {}, String(each.number)), told, make("p", {}, plain(each.text))),
          );
        }
      }
    }
  } catch (error) {
    fail({ detail: "The connection was lost.", cure: "Ask again." });
  }
}

const asking = document.getElementById("asking");
if (asking) {
  ask(asking);
  asking.addEventListener("click", (event) => {
    const cite = event.target.closest(".cite");
    if (cite) light(cite.textContent);
  });
}

async function follow(id, told) {
  const response = await fetch(`/api/flow-runs/${id}/events`);
  for await (const { name, data } of eventsOf(response)) {
    if (name === "problem") return told.replaceChildren(notice(data));
    const link = make("a", { href: data.url }, data.name);
    told.replaceChildren("Ingestion ", link, `: ${data.state}`);
    if (name === "ended") return location.reload();
  }
}

async function upload(place, files) {
  const told = document.getElementById("following");
  const at = `/api/indexes/${encodeURIComponent(place.dataset.index)}`;
  const send = async (method, path, body, type) => {
    const response = await fetch(path, { method, body, headers: { "Content-Type": type } });
    const data = await response.json();
    if (!response.ok) throw data;
    return data;
  };
  try {
    let sent = 0;
    for (const file of files) {
      told.textContent = `Sending ${file.name} (${++sent} of ${files.length}) …`;
      await send("PUT", `${at}/uploads/${encodeURIComponent(file.name)}`, file, "application/octet-stream");
    }
    told.textContent = "Starting the ingestion …";
    const run = await send("POST", `${at}/ingest`, "{}", "application/json");
    await follow(run.flow_run_id, told);
  } catch (problem) {
    told.replaceChildren(notice(problem));
  }
}

const drop = document.getElementById("drop");
if (drop) {
  document.getElementById("files").addEventListener("change", (event) => upload(drop, [...event.target.files]));
  for (const name of ["dragenter", "dragover"])
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); upload(drop, [...event.dataTransfer.files]); });
}

// The heading in view is marked in the outline.
const outline = document.querySelector(".outline");
if (outline && "IntersectionObserver" in window) {
  const links = [...outline.querySelectorAll("a")];
  const pieces = links.map((link) => document.getElementById(link.hash.slice(1)));
  const mark = () => {
    const at = pieces.findLastIndex((piece) => piece.getBoundingClientRect().top < 120);
    links.forEach((link, number) => link.classList.toggle("here", number === Math.max(at, 0)));
  };
  document.addEventListener("scroll", mark, { passive: true });
  mark();
}
const here = document.querySelector(".piece.here");
if (here) here.scrollIntoView({ block: "center" });
