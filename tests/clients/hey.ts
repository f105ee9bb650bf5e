import { client } from "./hey/client.gen";
import { createPlan, getPlan, updatePlan } from "./hey/sdk.gen";

client.setConfig({ baseUrl: process.env.SERVER!, headers: { Authorization: `Bearer ${process.env.KEY}` } });
const made = await createPlan({
  body: { code: `hey-${Date.now()}`, name: "Basic", currency: "USD", amount: 1000, interval: "month" },
});
const path = { id: made.data!.id };
const read = await getPlan({ path });
const name: string = read.data!.name;
const changed = await updatePlan({ path, headers: { "If-Match": '"1"' }, body: { name: `${name}!` } });
const version = changed.data!.version;
const stale = await updatePlan({ path, headers: { "If-Match": '"1"' }, body: { name: "stale" } });
const named = await updatePlan({ path, body: { name: "stale", version: 1 } });
for (const [answer, status] of [[stale, 412], [named, 409]] as const) {
  const problem = answer.error!;
  if (answer.response?.status !== status || problem.code !== "CONFLICT_VERSION_MISMATCH" ||
      Number(problem.current_version) !== Number(version) || problem.merge?.verdict !== "overlap") {
    throw new Error(JSON.stringify(problem, (_, v) => typeof v === "bigint" ? Number(v) : v));
  }
}
console.log("hey-api: GET, PATCH, 412 and 409 are typed");
