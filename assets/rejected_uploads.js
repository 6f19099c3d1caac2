// Files that the uploader itself turns down, by name and reason: {refused: [[name, reason], ...]}.

export default function ({ setTriggerValue }) {
  const seen = new WeakSet();

  function look() {
    const refused = [];
    for (const chip of document.querySelectorAll('[data-testid="stSidebar"] [data-testid="stFileChip"][aria-invalid="true"]')) {
      if (seen.has(chip)) continue;
      seen.add(chip);
      const name = chip.querySelector('[data-testid="stFileChipName"]')?.title ?? "";
      const reason = document.getElementById(chip.getAttribute("aria-describedby"))?.textContent ?? "";
      refused.push([name, reason.replace(/^Error: /, "")]);
      chip.querySelector('[data-testid="stFileChipDeleteBtn"] button')?.click(); // it stands below from now on
    }
    if (refused.length) setTriggerValue("refused", refused);
  }

  const watching = new MutationObserver(look);
  watching.observe(document.body, { childList: true, subtree: true });
  look();
  return () => watching.disconnect();
}
