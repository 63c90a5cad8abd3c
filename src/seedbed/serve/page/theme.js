// The chosen theme, set before the first paint: a module would run after it and flash. "auto" follows the system.
document.documentElement.dataset.theme = localStorage.getItem("seedbed.theme") ?? "auto";
