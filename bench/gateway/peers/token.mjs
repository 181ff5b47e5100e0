import { createRemoteJWKSet, jwtVerify } from 'jose';

/**
 * The check of an access token as jose documents it: keys fetched once, signature and claims checked on every request.
 * With TOKEN_CACHE=on a token that was checked is known until it expires, which is not usual and saves a signature
 * check a request.
 */
export function tokenCheck({ jwks, issuer, audience, cached }) {
  const keys = createRemoteJWKSet(new URL(jwks));
  const known = new Map();
  return async (authorization) => {
    const [scheme, token] = (authorization ?? '').split(' ');
    if (scheme !== 'Bearer' || !token) throw new Error('no token');
    const payload = known.get(token);
    if (payload && payload.exp > Date.now() / 1000) return payload;
    const verified = await jwtVerify(token, keys, { issuer, audience, algorithms: ['EdDSA'] });
    if (cached) {
      if (known.size >= 10_000) known.delete(known.keys().next().value);
      known.set(token, verified.payload);
    }
    return verified.payload;
  };
}

/** What both gateways are told by their environment. */
export const settings = {
  port: Number(process.env.PORT),
  routes: JSON.parse(process.env.ROUTES ?? '[]'),
  accessLog: process.env.ACCESS_LOG ?? '',
  checkToken: tokenCheck({
    jwks: process.env.JWKS_URL ?? '',
    issuer: process.env.ISSUER,
    audience: process.env.AUDIENCE,
    cached: process.env.TOKEN_CACHE === 'on',
  }),
};
