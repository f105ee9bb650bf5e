// The session: an API key and optionally the user on whose behalf it acts. Kept until the tab is closed.

const KEY = "ifmatch.key";
const ON_BEHALF_OF = "ifmatch.on_behalf_of";

export const session = {
  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  },
  get onBehalfOf() {
    return sessionStorage.getItem(ON_BEHALF_OF) ?? "";
  },
  signIn(key, onBehalfOf) {
    sessionStorage.setItem(KEY, key);
    sessionStorage.setItem(ON_BEHALF_OF, onBehalfOf);
  },
  signOut() {
    sessionStorage.removeItem(KEY);
    sessionStorage.removeItem(ON_BEHALF_OF);
  },
  headers() {
    const headers = { Authorization: `Bearer ${this.key}` };
    if (this.onBehalfOf !== "") headers["X-On-Behalf-Of"] = headerOf(this.onBehalfOf);
    return headers;
  },
};

/** A text as the value of a header: fetch takes bytes, and the server reads UTF-8. */
export const headerOf = (text) => String.fromCharCode(...new TextEncoder().encode(text.replace(/\s+/g, " ").trim()));
