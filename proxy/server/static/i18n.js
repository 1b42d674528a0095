// The page's words: one module a language, the same names in each.

import en from "./en.js";
import zh from "./zh.js";

const WORDS = { en, zh };
export const LANGUAGES = { en: "English", zh: "中文" };

let language = initial();

function initial() {
  try {
    const chosen = localStorage.getItem("poe-proxy-language");
    if (Object.hasOwn(WORDS, chosen)) return chosen;
  } catch {
    // storage may be forbidden
  }
  return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function currentLanguage() {
  return language;
}

export function locale() {
  return language === "zh" ? "zh-CN" : "en";
}

export function setLanguage(wanted) {
  language = wanted;
  document.documentElement.lang = locale();
  try {
    localStorage.setItem("poe-proxy-language", wanted);
  } catch {
    // the choice lasts as long as the page
  }
}

// t("clients.revoked", {name: "bob"}): {name} in the text stands for the value.
export function t(name, values = {}) {
  const text = WORDS[language][name] ?? WORDS.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

// Words for a code of the proxy's, such as rate_limit_exceeded; the code itself when there are none.
export function codeWords(code) {
  return `code.${code}` in WORDS.en ? t(`code.${code}`) : String(code).replaceAll("_", " ");
}
