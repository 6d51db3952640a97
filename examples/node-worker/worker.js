// A whole worker in Node: how much information do the bytes of a picture carry?
//
//     npm ci && BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS=localhost:9092 npm start
//
// Written from asyncapi.yaml and docs/workers.md alone; there is no SDK behind it.

import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { Kafka, logLevel, Partitioners } from "kafkajs";

const env = process.env;
const MODEL = { name: "entropy", version: "1.0.0", labels: ["plain", "rich"], description: "Plain or rich?" };
const WORKER = { name: `entropy-${hostname()}-${process.pid}`, version: "1.0.0" };
const CONCURRENCY = Number(env.BIOSCOPE_WORKER__CONCURRENCY ?? 4);
const TOPICS = {
  jobs: env.BIOSCOPE_KAFKA__TOPICS__JOBS ?? "bioscope.classification.jobs",
  results: env.BIOSCOPE_KAFKA__TOPICS__RESULTS ?? "bioscope.classification.results",
  workers: env.BIOSCOPE_KAFKA__TOPICS__WORKERS ?? "bioscope.workers",
};
const STARTED_AFTER_MS = 250;
const ANNOUNCE_EVERY_MS = 10_000;
const FETCH_MS = 20_000;

/** Why there is no prediction; `retryable`: the next who tries may have more luck. */
class Failure extends Error {
  constructor(code, message, retryable = false) {
    super(message);
    Object.assign(this, { code, retryable });
  }
}

/** The model: Shannon's entropy of the bytes, of at most eight bits each. */
function classify(bytes) {
  const counts = new Array(256).fill(0);
  for (const byte of bytes) counts[byte] += 1;
  const shares = counts.filter(Boolean).map((count) => count / bytes.length);
  const bits = -shares.reduce((sum, share) => sum + share * Math.log2(share), 0);
  const rich = Math.min(Math.max(bits / 8, 0), 1);
  return { scores: [{ label: "rich", confidence: rich }, { label: "plain", confidence: 1 - rich }],
           measurements: [{ name: "entropy", value: bits, unit: "bit" }] };
}

async function fetchPicture({ url, sha256 }) {
  if (url === null) throw new Failure("FETCH_FAILED", "The job carries no link, and this worker has no account.", true);
  let bytes;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(FETCH_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    bytes = Buffer.from(await answer.arrayBuffer());
  } catch (error) {
    throw new Failure("FETCH_FAILED", `The picture did not come: ${error.message}.`, true);
  }
  if (createHash("sha256").update(bytes).digest("hex") !== sha256)
    throw new Failure("CHECKSUM_MISMATCH", "What came is not what was uploaded.", true);
  return bytes;
}

const kafka = new Kafka({ clientId: WORKER.name, brokers: env.BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS.split(","),
                          logLevel: logLevel.ERROR, retry: { retries: Number.MAX_SAFE_INTEGER, maxRetryTime: 2_000 } });
// an answer that arrives twice counts once, so the producer need not be idempotent
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
// one group for each model and version: every version gets its own jobs
const consumer = kafka.consumer({ groupId: `${MODEL.name}@${MODEL.version}`, sessionTimeout: 6_000,
                                  heartbeatInterval: 1_000, maxWaitTimeInMs: 100 });

const send = (topic, key, message) =>
  producer.send({ topic, acks: -1, messages: [{ key, value: JSON.stringify({ v: 1, ...message }) }] });
const announce = (status) =>
  send(TOPICS.workers, WORKER.name, { worker: WORKER, status, models: [MODEL], concurrency: CONCURRENCY });

/** A message that is no JSON is nobody's job: thrown, its error would hold up all that come behind it. */
function read(value) {
  try {
    return JSON.parse(value);
  } catch (error) {
    console.error(`A job that can't be read is passed over: ${error.message}`);
  }
}

/** One job: it is committed once this returns, so what a killed worker held comes again. */
async function work({ message, heartbeat }) {
  const { model, "model-version": version } = message.headers;
  if (`${model}` !== MODEL.name || `${version}` !== MODEL.version) return;
  const job = read(message.value);
  if (job?.v !== 1 || new Date(job.deadline) <= new Date()) return; // it comes again

  const say = (status, more) =>
    send(TOPICS.results, job.itemId, { itemId: job.itemId, attempt: job.attempt, status, worker: WORKER, ...more });
  // silence would mean death: Kafka hears from us every second, the API three times a lease
  const complain = (error) => console.error(error.message);
  const pulse = setInterval(() => heartbeat().catch(complain), 1_000);
  const renew = () => say("started").catch(complain);
  let renewals;
  const first = setTimeout(() => {
    renew();
    renewals = setInterval(renew, (job.leaseSeconds * 1000) / 3);
  }, Math.min(STARTED_AFTER_MS, (job.leaseSeconds * 1000) / 3));
  const began = performance.now();
  let answer;
  try {
    const found = classify(await fetchPicture(job.image));
    answer = ["ok", { ...found, model: { name: MODEL.name, version: MODEL.version },
                      durationMs: Math.round(performance.now() - began) }];
  } catch (error) {
    const { code = "WORKER_FAILED", message: told, retryable = false } = error;
    answer = ["error", { error: { code, message: told, retryable } }];
  } finally {
    clearTimeout(first);
    clearInterval(renewals);
    clearInterval(pulse);
  }
  await say(...answer);
}

await producer.connect();
await announce("up");
await consumer.connect();
await consumer.subscribe({ topic: TOPICS.jobs.replace("{model}", MODEL.name), fromBeginning: true });
await consumer.run({ partitionsConsumedConcurrently: CONCURRENCY, eachMessage: work });
const presence = setInterval(() => announce("up").catch((error) => console.error(error.message)), ANNOUNCE_EVERY_MS);

async function stop() {
  clearInterval(presence);
  await consumer.disconnect(); // after the jobs in hand
  await announce("down");
  await producer.disconnect();
}
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);
