// Judges COSE receipts (RFC 9942) with @transmute/cose: its CBOR, its headers, its Merkle paths.
//
// Its own signatures are ECDSA's alone, so Node checks the Ed25519 signature, over what the package took for the root.
// Reads questions as JSON, one a line, and answers each with a line: "yes", or "no: " and why.
import { createPublicKey, verify } from "node:crypto";
import { createInterface } from "node:readline";
import cose from "@transmute/cose";

const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));

function verifier(key) {
  return {
    async verify({ coseSign1, payload }) {
      const [header, , , signature] = cose.cbor.decode(coseSign1).value;
      const said = cose.cbor.decode(header).get(cose.Protected.Alg);
      if (said !== -8) throw new Error(`signed as ${said}, not as EdDSA`);
      const parts = [header, new Uint8Array(), new Uint8Array(payload)].map(cose.cbor.toArrayBuffer);
      const signed = cose.cbor.encode(["Signature1", ...parts]);
      if (!verify(null, Buffer.from(signed), key, Buffer.from(signature))) throw new Error("the signature does not hold");
      return payload;
    },
  };
}

async function judge(asked) {
  const key = createPublicKey(asked.key);
  const receipt = bytes(asked.receipt);
  if (asked.entry !== undefined) {
    const entry = await cose.receipt.leaf(bytes(asked.entry));
    await cose.receipt.inclusion.verify({ entry, receipt, verifier: verifier(key) });
    return true;
  }
  const [oldRoot, newRoot] = [bytes(asked.oldRoot), bytes(asked.newRoot)];
  return cose.receipt.consistency.verify({ oldRoot, newRoot, receipt, verifier: verifier(key) });
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log((await judge(JSON.parse(line))) === false ? "no: the proof does not hold" : "yes");
  } catch (error) {
    console.log(`no: ${String(error.message).replaceAll("\n", " ")}`);
  }
}
