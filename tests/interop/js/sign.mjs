// The JavaScript SDK's own signing and verifying of cards.
//
// Usage: sign.mjs sign|verify KEY ALG < CARD
//
// `sign` prints the card with a signature by the private key in the PEM file KEY; `verify` checks one
// with the public key in it, and exits 1 with the SDK's words where it does not hold.

import { createPrivateKey, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";

import { generateAgentCardSignature, verifyAgentCardSignature } from "@a2a-js/sdk";

const [verb, key, alg] = process.argv.slice(2);
const card = JSON.parse(readFileSync(0, "utf8"));
const pem = readFileSync(key);
if (verb === "sign") {
  const header = { alg, kid: "k1", typ: "JOSE" };
  const signed = await generateAgentCardSignature(createPrivateKey(pem), header)(card);
  process.stdout.write(JSON.stringify(signed));
} else {
  try {
    await verifyAgentCardSignature(async () => createPublicKey(pem))(card);
  } catch (error) {
    process.stdout.write(error.message);
    process.exitCode = 1;
  }
}
