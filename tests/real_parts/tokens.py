"""Makes tokens as a service does with PyJWT: a key set, and one token for each algorithm."""

import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "a secret that both sides share, of more than 64 bytes, for each of the algorithms"

keys = {
    "rsa": (rsa.generate_private_key(public_exponent=65537, key_size=3072), RSAAlgorithm),
    "p256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "p384": (ec.generate_private_key(ec.SECP384R1()), ECAlgorithm),
    "ed25519": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
}
signed_with = {
    "RS256": "rsa",
    "RS384": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "PS384": "rsa",
    "PS512": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "EdDSA": "ed25519",
}
claims = {"sub": "ana", "aud": ["orders"], "iss": "py", "iat": int(time.time()), "exp": time.time() + 300}
published = []
for kid, (key, kind) in keys.items():
    jwk = json.loads(kind.to_jwk(key.public_key()))
    published.append({**jwk, "kid": kid, "use": "sig"})
tokens = {
    algorithm: jwt.encode(claims, keys[kid][0], algorithm=algorithm, headers={"kid": kid})
    for algorithm, kid in signed_with.items()
}
for algorithm in ["HS256", "HS384", "HS512"]:
    tokens[algorithm] = jwt.encode(claims, SECRET, algorithm=algorithm)
print(json.dumps({"jwks": {"keys": published}, "tokens": tokens, "secret": SECRET}))
