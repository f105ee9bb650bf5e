import { Configuration, PlansApi, ResponseError, ProblemFromJSON } from "./generated-fetch";

const plans = new PlansApi(new Configuration({ basePath: process.env.SERVER!, accessToken: process.env.KEY! }));
const made = await plans.createPlan({
  planFields: { code: `generator-${Date.now()}`, name: "Basic", currency: "USD", amount: 1000, interval: "month" },
});
const read = await plans.getPlan({ id: made.id });
const changed = await plans.updatePlan({ id: made.id, planPatch: { name: `${read.name}!` }, ifMatch: '"1"' });
const stale = { id: made.id, planPatch: { name: "stale" }, ifMatch: '"1"' };
const named = { id: made.id, planPatch: { name: "stale", version: 1 } };
for (const [request, status] of [[stale, 412], [named, 409]] as const) {
  const error: unknown = await plans.updatePlan(request).then(() => undefined, (error) => error);
  if (!(error instanceof ResponseError)) throw new Error(`${status} was expected`);
  const problem = ProblemFromJSON(await error.response.json());
  if (error.response.status !== status || problem.code !== "CONFLICT_VERSION_MISMATCH" ||
      problem.currentVersion !== changed.version || problem.merge?.verdict !== "overlap") {
    throw new Error(JSON.stringify(problem));
  }
}
console.log("openapi-generator, typescript-fetch: GET, PATCH, 412 and 409 are typed");
