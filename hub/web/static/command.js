"use strict";
// Forms that command: sent without leaving the page, answered beside the button. Without this script they post and
// the page comes again.
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  // GSM 03.38: what fits 7 bits; the second row takes two places
  const ONE = new Set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà");
  const TWO = new Set("^{}\\[~]|€\f");

  function parts(words) {
    let units = 0, seven = true;
    for (const char of words) {
      if (ONE.has(char)) units += 1;
      else if (TWO.has(char)) units += 2;
      else { seven = false; break; }
    }
    if (!seven) units = words.length;
    const [whole, part] = seven ? [160, 153] : [70, 67];
    return [units, units <= whole ? 1 : Math.ceil(units / part)];
  }

  function counted(area) {
    const [units, n] = parts(area.value);
    const place = area.form.querySelector("[data-counted]");
    place.textContent = area.value ? area.dataset.count.replace("{n}", units).replace("{parts}", n) : "";
  }

  function zones(root) {
    for (const input of root.querySelectorAll("input[type=hidden][name=zone]")) if (zone) input.value = zone;
    for (const told of root.querySelectorAll("[data-zone]")) {
      const words = told.dataset.zone.replace("{zone}", zone);
      if (zone && told.textContent !== words) told.textContent = words;
    }
    for (const input of root.querySelectorAll("input[type=datetime-local][data-us]")) {
      if (zone && !input.dataset.shown) {
        input.dataset.shown = "yes";
        const at = new Date(Number(input.dataset.us) / 1000);
        input.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
      }
    }
  }

  async function send(form, button) {
    const output = form.querySelector("output");
    const fields = new FormData(form);
    if (button?.name) fields.set(button.name, button.value);
    const buttons = [...form.querySelectorAll("button")];
    buttons.forEach((one) => { one.disabled = true; });
    output.className = "";
    output.textContent = "…";
    let words, good = false;
    try {
      const answer = await fetch(button?.formAction && button.hasAttribute("formaction") ? button.formAction : form.action, {
        method: "POST", body: new URLSearchParams(fields), headers: {Accept: "application/json"}, redirect: "error",
        signal: AbortSignal.timeout(30000)});
      const told = await answer.json();
      good = answer.ok;
      words = good ? told.text : told.error;
    } catch (error) { words = form.dataset.failed || texts.offline || String(error); }
    buttons.forEach((one) => { one.disabled = false; });
    output.textContent = words;
    output.className = good ? "good" : "bad";
    if (good && form.dataset.clear) {
      const field = form.elements[form.dataset.clear];
      field.value = "";
      if (field.dataset.count) counted(field);
    }
    if (good) setTimeout(() => { if (output.textContent === words) { output.textContent = ""; output.className = ""; } }, 12000);
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!("command" in form.dataset) || event.defaultPrevented) return;
    event.preventDefault();
    send(form, event.submitter);
  });
  document.addEventListener("input", (event) => { if (event.target.dataset?.count) counted(event.target); });
  zones(document);
  new MutationObserver(() => zones(document)).observe(document.getElementById("content"), {childList: true, subtree: true});
}
