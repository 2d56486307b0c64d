// Checks the contract from outside, in Node: client.js HOST:PORT DESCRIPTOR_SET
//
// One line for each promise; the first broken one ends it.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const SAMPLE_VISIT = "visits/kz-mod-az-2023-10";
const DEADLINE_MS = 30_000;

const [address, descriptors] = process.argv.slice(2);

/** Clients of the services, made from the descriptor set. */
function connect() {
  const definition = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const services = grpc.loadPackageDefinition(definition).attache.v1;
  const credentials = grpc.credentials.createInsecure();
  return {
    registry: new services.RegistryService(address, credentials),
    feed: new services.FeedService(address, credentials),
  };
}

/** One answer. */
function call(client, rpc, request) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + DEADLINE_MS };
    client[rpc](request, new grpc.Metadata(), options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** The frames of a watch that ends. */
async function watch(feed, request) {
  const frames = [];
  for await (const frame of feed.WatchEvents(request, new grpc.Metadata(), { deadline: Date.now() + DEADLINE_MS })) {
    frames.push(frame);
  }
  return frames;
}

/** Every event, by pages. */
async function listEvents(feed) {
  const events = [];
  let page = "";
  do {
    const answer = await call(feed, "ListEvents", { page_size: 10, page_token: page });
    events.push(...answer.events);
    page = answer.next_page_token;
  } while (page);
  return events;
}

const PROMISES = {
  "a visit is found by its name": async ({ registry }) => {
    const { visit, token } = await call(registry, "GetVisit", { name: SAMPLE_VISIT });
    assert.equal(visit.name, SAMPLE_VISIT);
    assert.equal(visit.start.edtf, "2023-10-06");
    assert.deepEqual([visit.hosts[0].state, visit.guests[0].state], ["AZ", "KZ"]);
    assert.ok(token);
  },
  "and by its states": async ({ registry }) => {
    const request = { filters: [{ states_all: ["AZ", "KZ"] }], page_size: 1000 };
    const { visits, token } = await call(registry, "ListVisits", request);
    assert.ok(visits.some((visit) => visit.name === SAMPLE_VISIT));
    assert.ok(token);
  },
  "a missing record is NOT_FOUND, with details": async ({ registry }) => {
    const error = await call(registry, "GetVisit", { name: "visits/nowhere-at-all" }).then(
      () => assert.fail("it was found"),
      (refused) => refused,
    );
    assert.equal(error.code, grpc.status.NOT_FOUND);
    const [details] = error.metadata.get("grpc-status-details-bin");
    assert.ok(details.includes("RECORD_NOT_FOUND"), "no reason in the details");
  },
  "a watch from the oldest event until caught up sends the events that ListEvents lists": async ({ feed }) => {
    const frames = await watch(feed, { oldest: {}, caught_up: {}, max_batch_events: 16 });
    const kinds = frames.map((frame) => frame.frame);
    assert.equal(kinds[0], "started");
    assert.equal(kinds.at(-1), "end");
    assert.equal(kinds.filter((kind) => kind === "caught_up").length, 1);
    assert.ok(frames.every((frame) => frame.token), "a frame has no token");
    const watched = frames.flatMap((frame) => frame.batch?.events ?? []).map((event) => event.id);
    const listed = (await listEvents(feed)).map((event) => event.id);
    assert.ok(watched.length > 0, "there are no events");
    assert.equal(watched.length, listed.length);
    assert.deepEqual(watched, listed);
  },
  "a watch resumes after the last token without gap or repeat": async ({ feed }) => {
    const all = await watch(feed, { oldest: {}, caught_up: {}, max_batch_events: 4 });
    const middle = Math.floor(all.length / 2);
    const rest = await watch(feed, { after: all[middle].token, caught_up: {}, max_batch_events: 4 });
    const ids = (frames) => frames.flatMap((frame) => frame.batch?.events ?? []).map((event) => event.id);
    assert.deepEqual([...ids(all.slice(0, middle + 1)), ...ids(rest)], ids(all));
  },
};

async function main() {
  const clients = connect();
  for (const [text, check] of Object.entries(PROMISES)) {
    try {
      await check(clients);
    } catch (broken) {
      console.error(`BROKEN  ${text}\n        ${broken.message}`);
      process.exitCode = 1;
      break;
    }
    console.log(`kept    ${text}`);
  }
  Object.values(clients).forEach((client) => client.close());
}

main();
