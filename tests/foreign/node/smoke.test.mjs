// The smoke set in node: the contract works for a client that shares no line with ours.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../../..");
const binary = process.env.DRIVEGATE_BIN ?? join(root, "target/release/drivegate");
const drivers = new Map(
  JSON.parse(readFileSync(join(here, "../drivers.json"), "utf8")).map((driver) => [driver.key, driver]),
);
const definition = loader.loadSync("drivegate/v1/verification_service.proto", {
  includeDirs: [join(root, "proto")],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { VerificationService } = grpc.loadPackageDefinition(definition).drivegate.v1;

let folder;
let server;
let address;

/** Starts a sandbox deployment of its own. */
before(async () => {
  folder = join(mkdtempSync(join(tmpdir(), "drivegate-node-")), "gateway");
  execFileSync(binary, ["init", folder]);
  execFileSync(binary, ["registry", "generate", "--count", "100", "--seed", "7", "--with-test-drivers", "--into", folder]);
  const words = ["serve", "--config", join(folder, "config.toml"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
  server = spawn(binary, words, { stdio: ["ignore", "pipe", "inherit"] });
  address = await new Promise((found, failed) => {
    server.once("exit", (code) => failed(new Error(`serve ended with ${code} before it was ready`)));
    createInterface({ input: server.stdout }).on("line", (line) => {
      if (line.startsWith("{") && line.includes('"ready"')) found(JSON.parse(line).partners);
    });
  });
});

after(async () => {
  server.removeAllListeners("exit");
  const ended = new Promise((done) => server.once("exit", done));
  server.kill("SIGTERM");
  assert.equal(await ended, 0, "a stop by SIGTERM is a clean one");
  rmSync(dirname(folder), { recursive: true, force: true });
});

const read = (name) => readFileSync(join(folder, "pki", name));

/** Runs `use` with a client of a partner, on a connection of its own. */
async function as(partner, use) {
  const identity = partner ? [read(`${partner}.key`), read(`${partner}.pem`)] : [];
  const credentials = grpc.credentials.createSsl(read("ca.pem"), ...identity);
  const options = { "grpc.enable_retries": 0, "grpc.ssl_target_name_override": "localhost" };
  const client = new VerificationService(address, credentials, options);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Makes a unary call with a deadline. */
function call(client, method, request) {
  return new Promise((answered, refused) => {
    const deadline = new Date(Date.now() + 5000);
    client[method](request, new grpc.Metadata(), { deadline }, (error, answer) =>
      error ? refused(error) : answered(answer),
    );
  });
}

/** Makes a call that must be refused, with this code and this reason in its details. */
async function refused(client, method, request, code, reason) {
  const error = await call(client, method, request).then(
    () => assert.fail("answered although it had to be refused"),
    (fault) => fault,
  );
  assert.equal(error.code, code, `${error.code}: ${error.details}`);
  const [details] = error.metadata.get("grpc-status-details-bin");
  assert.ok(Buffer.from(details).includes(reason), `the details name ${reason}`);
  assert.ok(Buffer.from(details).includes("drivegate.v1"));
  return error;
}

const stamp = (days) => ({ seconds: Math.floor(Date.now() / 1000 + days * 86_400), nanos: 0 });

function rental(key, changes = {}) {
  const driver = drivers.get(key);
  return {
    claim: {
      document_kind: `DOCUMENT_KIND_${driver.document.toUpperCase().replaceAll("-", "_")}`,
      licence_number: driver.number,
      full_name: driver.name,
      ground: { kind: "GROUND_KIND_CONTRACT", subject_is_party: true },
      ...changes,
    },
    rental: {
      pick_up: stamp(0.1),
      return: stamp(3),
      vehicle: { class: "VEHICLE_CLASS_C1", automatic: false, use: "VEHICLE_USE_PRIVATE" },
      min_tenure_months: 12,
    },
    case_reference: "RENT-2026-17",
    operator_id: "desk-3",
  };
}

test("a driver in good standing is qualified, and only a mask of the name is seen", () =>
  as("rental-demo", async (client) => {
    const answer = await call(client, "Verify", rental("1"));
    assert.equal(answer.decision, "DECISION_QUALIFIED");
    assert.match(answer.disclosure.masked_name, /^测\*+$/);
    assert.equal(answer.subject_ref.length, 22);
    assert.equal(answer.environment, "ENVIRONMENT_SANDBOX");
    assert.ok(answer.evidence.log_origin);
  }));

test("a driver whose licence has expired is not qualified, by one code for every reason", () =>
  as("rental-demo", async (client) => {
    const answer = await call(client, "Verify", rental("11"));
    assert.equal(answer.decision, "DECISION_NOT_QUALIFIED");
    const reasons = answer.criteria.filter((one) => one.outcome === "OUTCOME_NOT_MET").map((one) => one.reason);
    assert.deepEqual(reasons, ["REASON_LICENCE_NOT_IN_FORCE"]);
  }));

test("a wrong name is not confirmed", () =>
  as("rental-demo", async (client) => {
    const answer = await call(client, "Verify", rental("1", { full_name: "王小明" }));
    assert.equal(answer.decision, "DECISION_INDETERMINATE");
    assert.deepEqual(answer.criteria.map((one) => one.reason), ["REASON_SUBJECT_NOT_CONFIRMED"]);
    assert.equal(answer.subject_ref, "");
  }));

test("contract and limits describe themselves", () =>
  as("insurer-demo", async (client) => {
    const { contract } = await call(client, "DescribeContract", {});
    assert.equal(contract.partner_id, "insurer-demo");
    const purposes = contract.purposes.map((terms) => terms.purpose).sort();
    assert.deepEqual(purposes, ["PURPOSE_INSURANCE_CLAIM", "PURPOSE_INSURANCE_PURCHASE"]);
    const { limits } = await call(client, "GetLimits", {});
    assert.equal(limits.filter((limit) => limit.kind.startsWith("LIMIT_KIND_QUOTA")).length, 3);
  }));

test("a malformed request names the field, and the connection lives on", () =>
  as("rental-demo", async (client) => {
    const broken = rental("1", { full_name: "王\u202e伟" });
    const error = await refused(client, "Verify", broken, grpc.status.INVALID_ARGUMENT, "REQUEST_MALFORMED");
    const [details] = error.metadata.get("grpc-status-details-bin");
    assert.ok(Buffer.from(details).includes("claim.full_name"));
    assert.equal((await call(client, "Verify", rental("1"))).decision, "DECISION_QUALIFIED");
  }));

test("a purpose outside the contract is refused", () =>
  as("recruiter-demo", (client) =>
    refused(client, "Verify", rental("1"), grpc.status.PERMISSION_DENIED, "PURPOSE_NOT_PERMITTED"),
  ));

test("the README's example is answered as it stands, but for folder and address", () => {
  const [, example] = readFileSync(join(root, "README.md"), "utf8").match(/^```js\n(.*?)^```$/ms);
  const replaced = (text, old, fresh) => {
    assert.ok(text.includes(old), `the README's example names ${old}`);
    return text.replaceAll(old, fresh);
  };
  let program = replaced(example, "sandbox/pki/", `${join(folder, "pki")}/`);
  program = replaced(program, "localhost:8443", address.replace("127.0.0.1", "localhost"));
  program = replaced(program, '["proto"]', JSON.stringify([join(root, "proto")]));
  // A module looks for its libraries from where it lies.
  const file = join(here, `readme-${process.pid}.mjs`);
  writeFileSync(file, program);
  try {
    const printed = execFileSync(process.execPath, [file], { encoding: "utf8", timeout: 20_000 });
    assert.match(printed, /decision: 'DECISION_QUALIFIED'/);
  } finally {
    rmSync(file);
  }
});

test("without a certificate nothing is served", () =>
  as(null, async (client) => {
    const error = await call(client, "GetLimits", {}).catch((fault) => fault);
    assert.equal(error.code, grpc.status.UNAVAILABLE);
  }));
