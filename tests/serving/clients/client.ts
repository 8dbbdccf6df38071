// Calls the service with types generated from its OpenAPI document.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

const client = createClient<paths>({ baseUrl: process.argv[2] });
const consignment: components["schemas"]["Consignment"] = {
  consignment_id: "TS1",
  channel: "postal",
  description: "pigment",
  gross_weight_kg: 0.4,
};

async function main(): Promise<void> {
  const scored = await client.POST("/v1/scores", { body: consignment });
  if (!scored.data || !("score" in scored.data)) throw new Error(JSON.stringify(scored.error));
  console.log(scored.response.status, scored.data.consignment_id, scored.data.band, scored.data.repeated);

  const told = await client.POST("/v1/outcomes", {
    body: {
      consignment_id: "TS1",
      selected_by: "model",
      status: "inspected",
      known_at: "2024-03-14T10:00:00Z",
      result: "clear",
    },
  });
  if (!told.data || !("id" in told.data)) throw new Error(JSON.stringify(told.error));
  console.log(told.response.status, told.data.id, told.data.known);

  const feed = await client.GET("/v1/decisions", { params: { query: { after: 0, limit: 1000 } } });
  console.log(feed.response.status, feed.data?.decisions.some((each) => each.consignment_id === "TS1"));

  const bad = await client.POST("/v1/cancellations", { body: { consignment_id: "nobody" } });
  console.log(bad.response.status, bad.error?.title);
}

void main();
