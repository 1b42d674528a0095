// Runs before anything is drawn, so that a chosen theme never flashes. "" follows the system.
(() => {
  const root = document.documentElement;
  const apply = (theme) => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  let chosen = "";
  try {
    chosen = localStorage.getItem("poe-proxy-theme") || "";
  } catch {
    // storage may be forbidden; then the choice lasts as long as the page
  }
  apply(chosen);
  window.poeProxyTheme = {
    get: () => chosen,
    isDark: () => (chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches),
    set: (theme) => {
      chosen = theme;
      apply(theme);
      try {
        localStorage.setItem("poe-proxy-theme", theme);
      } catch {
        // the same
      }
    },
  };
})();
