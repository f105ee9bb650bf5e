// Runs in the page as the body of an async function. Returns the checks that failed.
return (async () => {
  const script = document.querySelector("script[src]").src;
  const from = (name) => import(new URL(name, script));
  const { at, diff, equal, put, touches } = await from("patch.js");
  const { isDecided, isPlainMerge, patchOf, rowsOf } = await from("conflict.js");
  const { hashOf, parentOf, parse } = await from("route.js");
  const { eventOf } = await from("stream.js");
  const { duration, label, money, shortId } = await from("words.js");
  const { ApiDocument } = await from("document.js");
  const { Draft } = await from("form.js");
  const { parse: read, stringify } = await from("exact.js");
  const { write } = await from("api.js");
  const { Poll } = await from("poll.js");

  const failures = [];
  const holds = (what, found, wanted) => {
    if (JSON.stringify(found) !== JSON.stringify(wanted)) failures.push({ what, found, wanted });
  };

  // RFC 7396: only the differences; objects deep, lists whole, null for removed members.
  holds("no difference", diff({ a: 1, m: { x: [1] } }, { a: 1, m: { x: [1] } }), {});
  holds("a changed member", diff({ a: 1, b: 2 }, { a: 1, b: 3 }), { b: 3 });
  holds("a member that goes", diff({ m: { x: "1", y: "2" } }, { m: { y: "2" } }), { m: { x: null } });
  holds("a list is one value", diff({ l: [1, 2] }, { l: [1, 3] }), { l: [1, 3] });
  holds("null is absent", diff({ a: null }, {}), {});
  holds("zero and false are not", diff({ a: 1, b: true }, { a: 0, b: false }), { a: 0, b: false });
  holds("lists of another length", equal([1], [1, 2]), false);
  holds("a pointer with escapes", at({ "a/b": { "~": 7 } }, "/a~1b/~0"), 7);
  holds("put copies", put({ m: { x: 1 }, k: 2 }, "/m/y", 3), { m: { x: 1, y: 3 }, k: 2 });
  holds("touching", [touches("/m", "/m/x"), touches("/m/x", "/m"), touches("/m", "/mm")], [true, true, false]);

  // Members that every object inherits are members like any other.
  const odd = ["constructor", "__proto__", "toString", "hasOwnProperty"];
  const all = (value) => `{${odd.map((key) => `"${key}":${value}`).join()}}`;
  for (const [what, before, after, patch] of [
    ["added", "{}", all('"x"'), all('"x"')],
    ["changed", all('"x"'), all('"y"'), all('"y"')],
    ["removed", all('"x"'), "{}", all("null")],
    ["kept", all('"x"'), all('"x"'), undefined],
  ]) {
    const found = stringify(diff({ m: read(before) }, { m: read(after) }));
    holds(`odd members ${what}`, found, patch === undefined ? "{}" : `{"m":${patch}}`);
  }
  for (const key of odd) {
    holds(`no ${key} to inherit`, [at({ m: {} }, `/m/${key}`) ?? null, equal({}, read(`{"${key}":"x"}`))], [null, false]);
    holds(`put ${key}`, stringify(put({ m: {} }, `/m/${key}`, "x")), `{"m":{"${key}":"x"}}`);
  }

  // Integers beyond 2^53 keep their digits, and nothing else is touched.
  const exact = '{"a":9007199254740993,"b":-9223372036854775808,"c":9007199254740991,"d":1.5e3,"e":"9007199254740993 \\" 1","f":[9007199254740995]}';
  holds("digits", stringify(read(exact)), exact.replace("1.5e3", "1500"));
  holds("equal", [equal(read("9007199254740993"), read("9007199254740993")), equal(read("9007199254740993"), read("9007199254740992"))], [true, false]);

  // Conflicts.
  const change = (path, base, current) => ({ path, base, current, version: 2, at: "", by: { actor: "x" } });
  const conflict = (verdict, changes, attempted, current, more = {}) =>
    ({ changes, attempted, current, merge: { verdict, overlap: [], groups_split: [], ...more } });
  const base = { q: 1, n: "a", m: { x: "1" } };
  const clean = conflict("clean", [change("/q", 1, 2)], ["/n"], { ...base, q: 2 });
  const rows = rowsOf(clean, base, { ...base, n: "b" });
  holds("both are kept by default", rows.map((row) => [row.path, row.choice]), [["/n", "mine"], ["/q", "theirs"]]);
  holds("that is the server's merge", isPlainMerge(clean, rows), true);
  holds("and sends mine only", patchOf(clean.current, rows), { n: "b" });
  rows[1].choice = "mine";
  holds("theirs can be put back", [isPlainMerge(clean, rows), patchOf(clean.current, rows)], [false, { q: 1, n: "b" }]);
  const overlap = conflict("overlap", [change("/q", 1, 2), change("/m/x", "1", null)], ["/q", "/m/x"], { q: 2, n: "a", m: {} }, { overlap: ["/q", "/m/x"] });
  const open = rowsOf(overlap, base, { q: 3, n: "a", m: { x: "9" } });
  holds("nothing is decided", [isDecided(open), open.map((row) => row.choice)], [false, [null, null]]);
  open[0].choice = "mine";
  open[1].choice = "theirs";
  holds("each path for itself", [isDecided(open), patchOf(overlap.current, open)], [true, { m: { x: "9" } }]);
  const group = conflict("group_overlap", [change("/c", "USD", "EUR")], ["/a"], { a: 1, c: "EUR" }, { groups_split: [["/a", "/c"]] });
  holds("a group is asked about", rowsOf(group, { a: 1, c: "USD" }, { a: 2, c: "USD" }).map((row) => row.asks), [true, true]);
  const unknown = conflict("unknown_base", [], ["/a"], { a: 5 });
  holds("an unknown base is asked about", rowsOf(unknown, { a: 1 }, { a: 2 }).map((row) => [row.asks, row.theirs]), [[true, 5]]);

  // Addresses.
  holds("there and back", parse(hashOf("/plans", { status: "a&b", cursor: "" })), { path: "/plans", query: { status: "a&b" } });
  holds("above", parentOf("/plans/pln_1"), "/plans");

  // Words.
  holds("labels", [label("/metadata/team"), label("cancel_at_period_end"), label("api-keys")], ["Metadata / team", "Cancel at period end", "API keys"]);
  holds("money", [money(1999, "USD"), money(1200, "JPY"), money(1, "nonsense"), money(9007199254740993n, "USD")], ["USD 19.99", "JPY 1,200", "1 nonsense", "USD 90,071,992,547,409.93"]);
  holds("times", [duration(0), duration(59_001), duration(3_723_000), duration(60_000)], ["0 s", "1 min 0 s", "1 h 2 min 3 s", "1 min 0 s"]);
  holds("units", [label("ttl_remaining_ms"), label("cooldown_ms")], ["Time left", "Cooldown (ms)"]);
  holds("short ids", [shortId(`sub_${"0".repeat(24)}12345678`), shortId("Acme")], ["sub_…12345678", "Acme"]);
  holds("an event", eventOf("id: 7\nevent: x\ndata: {\"a\":1}"), { id: "7", data: { a: 1 } });
  holds("a comment", eventOf(": alive").data, undefined);
  holds("an id without data", eventOf("id: 8"), { id: "8" });

  // Forms.
  const fields = [{ name: "n", type: "string" }, { name: "u", type: "string", nullable: true }, { name: "q", type: "integer" }, { name: "m", type: "object", isLarge: true }];
  const draft = new Draft(fields, { n: "a", u: "b", q: 1, m: { x: 1 } });
  const type = (name, text) => draft.texts.set(name, text);
  holds("untouched", [draft.isDirty, draft.read().values], [false, { n: "a", u: "b", q: 1, m: { x: 1 } }]);
  type("n", ""), type("u", ""), type("m", "{ \"x\": 1 }");
  holds("emptied", draft.read(), { values: { n: "", u: null, q: 1, m: { x: 1 } }, errors: [] });
  type("q", "1.5"), type("m", "{");
  holds("wrong", draft.read().errors.map(({ path }) => path), ["/q", "/m"]);

  const two = '[{"text":"a","n":9007199254740993},{"text":"b","n":2}]';
  const lined = new Draft([{ name: "l", type: "array", isLarge: true }, { name: "q", type: "integer" }], { l: read(two), q: read("9007199254740997") });
  lined.texts.set("l", lined.texts.get("l").replace('"b"', '"c"'));
  const saved = diff(lined.base, lined.read().values);
  holds("a sibling keeps its digits", write("PATCH", "/x", { body: saved }).body, `{"l":${two.replace('"b"', '"c"')}}`);
  lined.texts.set("q", "9007199254740999");
  holds("typed digits", stringify(lined.read().values.q), "9007199254740999");

  // An object with known members is edited member by member.
  const members = [{ name: "o/a", type: "integer", parent: { name: "o", required: true } }, { name: "o/l", type: "array", isLarge: true, parent: { name: "o", required: true } }];
  const sized = new Draft(members, { o: { a: 1, l: [1] } });
  sized.texts.set("o/a", "2");
  holds("one member", diff(sized.base, sized.read().values), { o: { a: 2 } });
  holds("none of a new one", new Draft(members).read().values, { o: {} });
  const known = new Draft([{ name: "w", type: "string" }], undefined, { w: "wsp_1" });
  holds("known beforehand", [known.isDirty, known.read().values], [false, { w: "wsp_1" }]);

  // The document of this server.
  const doc = new ApiDocument(await (await fetch("openapi.json")).json());
  const place = doc.place(`/subscriptions/sub_${"0".repeat(32)}`);
  holds("an object's place", [place.path, doc.shapeOf(place)], ["/subscriptions/{id}", "object"]);
  holds("words before parameters", doc.place("/workspaces/wsp_1/usage/holds/hld_1").path, "/workspaces/{id}/usage/holds/{hold_id}");
  holds("an id leads there", doc.pathOfId(`sub_${"0".repeat(32)}`), `/subscriptions/sub_${"0".repeat(32)}`);
  const edit = doc.bodyFields(place, "patch");
  holds("what is set once", edit.some(({ name }) => name === "workspace_id"), false);
  holds("enums", edit.find(({ name }) => name === "status").enum.includes("paused"), true);
  holds("nullable as stored", edit.find(({ name }) => name === "notes").nullable ?? false, false);
  const invoice = doc.bodyFields(doc.place("/invoices/inv_1"), "patch");
  const lines = { lines: [{ description: "Seats", quantity: 1, unit_amount: 2, amount: 2 }] };
  holds("what the server computes is not sent", doc.writable(invoice, lines).lines, [{ description: "Seats", quantity: 1, unit_amount: 2 }]);
  holds("a preview and a redaction are no actions", doc.actionsOf(doc.place("/plans/pln_1")).map(({ path }) => path), []);
  holds("what refers to it", doc.referringTo("Bookable").map(({ place, filter }) => [place.path, filter]), [["/bookings", "bookable_id"]]);

  // What workers go on with.
  const [server, digits] = [doc.place("/servers/srv_1"), "0".repeat(32)];
  const offered = (status) => doc.actionsNow(server, "Server", { status }).map(({ path }) => path);
  holds("a person decides only what is unknown", [offered("provisioning"), offered("pending_reconciliation"), offered("deleted")], [[], ["/servers/{id}/resolve"], []]);
  holds("about a version", ["/servers/srv_1/resolve", "/servers"].map((path) => doc.namesVersion(doc.place(path).operations.post)), [true, false]);
  holds("until it rests", [doc.isUnsettled("Server", { next_check_at: "2026-01-01T00:00:00Z" }), doc.isUnsettled("Server", { next_check_at: null })], [true, false]);
  holds("pages of IDs", [`srv_${digits}`, `prd_${digits}`, `trf_${digits}`, "trf_1", "nonsense"].map((id) => doc.pageOfId(id) ?? null), [`/servers/srv_${digits}`, `/products/prd_${digits}`, `/reservations/trf_${digits}`, null, null]);
  holds("a transfer in a text need not be a reservation", doc.pathOfId(`trf_${digits}`) ?? null, null);
  holds("members in the form", doc.bodyFields(doc.place("/products"), "post").filter(({ required, parent }) => required && parent).map(({ name }) => name), ["limits/memory", "limits/disk"]);

  // What has no page of its own.
  const lock = doc.place("/locks/a");
  holds("a lock's names", [doc.namesOf(lock), doc.hasPage(lock), doc.hasPage(place)], [["workspace_id", "scope", "function"], false, true]);
  holds("people only force", doc.actionsOf(lock).map(({ path }) => path), ["/locks/{key}/force-release"]);
  holds("whose names they are", doc.namesAbove(doc.place("/locks/a/force-release")), ["workspace_id", "scope", "function"]);
  holds("a reversal is no force", doc.isForce(doc.place("/invoices/inv_1/payments/pay_1/reverse")), false);

  // Reading again: only while the page is visible, not too often, and less often after a failure.
  let reads = 0, beats = 0, fails = false;
  const poll = new Poll(async () => {
    reads += 1;
    if (fails) throw new Error("no answer");
  }, () => (beats += 1));
  clearInterval(poll.timer);
  poll.last = 0;
  const tick = async (now, isHidden) => {
    poll.tick(now, isHidden);
    await new Promise((resolve) => setTimeout(resolve));
    return reads;
  };
  holds("hidden", [await tick(60_000, true), beats], [0, 0]);
  holds("visible", [await tick(60_000, false), await tick(64_999, false), await tick(65_000, false), beats], [1, 1, 2, 3]);
  fails = true;
  holds("failing", [await tick(70_000, false), await tick(75_000, false), await tick(80_000, false)], [3, 3, 4]);
  fails = false;
  holds("well again", [await tick(99_999, false), await tick(100_000, false), await tick(105_000, false)], [4, 5, 6]);
  poll.soon();
  holds("soon", [await tick(105_001, false), await tick(105_002, false)], [7, 7]);
  poll.close();
  return failures;
})();
