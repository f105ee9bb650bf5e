import createClient from "openapi-fetch";
import type { paths } from "./api";

const client = createClient<paths>({
  baseUrl: process.env.SERVER!,
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});
const made = await client.POST("/v1/plans", {
  body: { code: `fetch-${Date.now()}`, name: "Basic", currency: "USD", amount: 1000, interval: "month" },
});
const id: string = made.data!.id;
const path = { id };
const read = await client.GET("/v1/plans/{id}", { params: { path } });
const name: string = read.data!.name;
const changed = await client.PATCH("/v1/plans/{id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { name: `${name}!` },
});
const version: number = changed.data!.version;
const stale = await client.PATCH("/v1/plans/{id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { name: "stale" },
});
const named = await client.PATCH("/v1/plans/{id}", {
  params: { path },
  body: { name: "stale", version: 1 },
});
for (const [answer, status] of [[stale, 412], [named, 409]] as const) {
  const problem = answer.error!;
  const current: number | undefined = problem.current_version;
  const verdict: string | undefined = problem.merge?.verdict;
  if (answer.response.status !== status || problem.code !== "CONFLICT_VERSION_MISMATCH" ||
      current !== version || verdict !== "overlap") {
    throw new Error(JSON.stringify(problem));
  }
}
console.log("openapi-fetch: GET, PATCH, 412 and 409 are typed");
