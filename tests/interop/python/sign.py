"""The Python SDK's own signing and verifying of cards.

Usage: sign.py keys|canonical|serve|sign|verify [--key FILE] [--alg ALG] [--kid ID] [--jku URL] [--exp TIME]

`keys` makes a key pair for ALG: PKCS #8 in FILE.pem, the public key in FILE.public.pem. The others read a card from standard input as the SDK's clients do. `canonical` prints what the SDK would sign;
`serve` prints the card as the SDK's servers send it; `sign` signs it first; `verify` checks it with the
public key of FILE and exits 1 with the name of the SDK's error where it does not hold.
`--alg none` signs with nothing, and an HS algorithm takes the bytes of FILE as the shared secret.
"""

import argparse
import json
import sys

from pathlib import Path

from a2a.client.card_resolver import parse_agent_card
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.utils.signing import (
    SignatureVerificationError,
    _canonicalize_agent_card,
    create_agent_card_signer,
    create_signature_verifier,
)
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

KINDS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


def make_keys(file: Path, alg: str) -> None:
    key = KINDS[alg]()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    file.with_name(f"{file.name}.pem").write_bytes(private)
    file.with_name(f"{file.name}.public.pem").write_bytes(public)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["keys", "canonical", "serve", "sign", "verify"])
    parser.add_argument("--key", type=Path)
    parser.add_argument("--alg", default="ES256")
    parser.add_argument("--kid", default="k1")
    parser.add_argument("--jku")
    parser.add_argument("--exp", type=int)
    args = parser.parse_args()
    if args.verb == "keys":
        make_keys(args.key, args.alg)
        return 0
    card = parse_agent_card(json.load(sys.stdin))
    if args.verb == "canonical":
        sys.stdout.write(_canonicalize_agent_card(card))
        return 0
    if args.verb == "verify":
        public = load_pem_public_key(args.key.read_bytes())
        verifier = create_signature_verifier(lambda kid, jku: public, [args.alg])
        try:
            verifier(card)
        except SignatureVerificationError as error:
            print(type(error).__name__)
            return 1
        return 0
    if args.verb == "sign":
        header = {"kid": args.kid, "alg": args.alg, "typ": "JOSE"}
        header |= {"jku": args.jku} if args.jku else {}
        header |= {"exp": args.exp} if args.exp else {}
        key = None if args.alg == "none" else args.key.read_bytes()
        card = create_agent_card_signer(key, header)(card)
    json.dump(agent_card_to_dict(card), sys.stdout)
    return 0


sys.exit(main())
