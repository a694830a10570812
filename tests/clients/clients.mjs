// Discovery, client credentials, tokens checked offline, introspection and revocation with oauth4webapi,
// openid-client and jose, for both tenants of a server.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as jose from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

const url = process.env.SERVER_URL
const read = (name) => JSON.parse(readFileSync(process.env[name], 'utf8'))
const [first, second] = [read('FIRST'), read('SECOND')]
const resource = 'https://api.example/v1'
const plainHttp = { [oauth.allowInsecureRequests]: true }
let checks = 0
const check = async (what, run) => {
  await run().catch((error) => {
    console.error(`FAILED: ${what}`)
    throw error
  })
  checks += 1
}

async function createKey({ rootKey }) {
  const query = `mutation { createKey(input: { name: "client", environment: PRODUCTION,
    scopes: [{ action: READ, resource: "customers/**" }, { action: WRITE, resource: "tickets" }] }) { key { id } secret } }`
  const answer = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${rootKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  })
  const { data, errors } = await answer.json()
  assert.equal(errors, undefined, JSON.stringify(errors))
  return { id: data.createKey.key.id, secret: data.createKey.secret }
}

async function discover(issuer) {
  const at = new URL(issuer)
  const request = await oauth.discoveryRequest(at, { algorithm: 'oauth2', ...plainHttp })
  return oauth.processDiscoveryResponse(at, request)
}

async function exchange(as, client, auth, parameters) {
  const request = oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams(parameters), plainHttp)
  return oauth.processClientCredentialsResponse(as, client, await request)
}

async function active(as, client, auth, token) {
  const request = await oauth.introspectionRequest(as, client, auth, token, plainHttp)
  return oauth.processIntrospectionResponse(as, client, request)
}

for (const [tenant, issuer] of [[first, url], [second, `${url}/${second.organizationId}`]]) {
  const key = await createKey(tenant)
  const client = { client_id: key.id }
  const as = await discover(issuer)
  const jwks = jose.createRemoteJWKSet(new URL(as.jwks_uri))
  for (const auth of [oauth.ClientSecretBasic(key.secret), oauth.ClientSecretPost(key.secret)]) {
    await check('a whole token', async () => {
      const token = await exchange(as, client, auth, {})
      assert.equal(token.scope, 'read:customers/** write:tickets')
      assert.equal(token.expires_in, 600)
      const told = await active(as, client, auth, token.access_token)
      assert.equal(told.active, true)
      assert.equal(told.iss, issuer)
    })
    await check('a token for a resource, checked as RFC 9068 says', async () => {
      const token = await exchange(as, client, auth, { scope: 'read:customers/42', resource })
      const rules = { issuer, audience: resource, typ: 'at+jwt', algorithms: ['EdDSA'], subject: key.id }
      const { payload } = await jose.jwtVerify(token.access_token, jwks, rules)
      assert.equal(payload.scope, 'read:customers/42')
      await assert.rejects(jose.jwtVerify(token.access_token, jwks, { ...rules, audience: 'https://other.example' }))
      const changed = token.access_token.replace(/\.[^.]{8}/, (start) => start.slice(0, -1) + (start.endsWith('A') ? 'B' : 'A'))
      await assert.rejects(jose.jwtVerify(changed, jwks, rules))
      const headers = { authorization: `Bearer ${token.access_token}` }
      const claims = await oauth.validateJwtAccessToken(as, new Request(resource, { headers }), resource, plainHttp)
      assert.equal(claims.client_id, key.id)
    })
    await check('a revoked token', async () => {
      const { access_token: token } = await exchange(as, client, auth, {})
      await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, plainHttp))
      assert.deepEqual(await active(as, client, auth, token), { active: false })
    })
    await check('a scope that the key does not have', async () => {
      await assert.rejects(exchange(as, client, auth, { scope: 'write:customers/42' }), { error: 'invalid_scope', status: 400 })
    })
  }
  await check('a wrong secret', async () => {
    const wrong = oauth.ClientSecretBasic('wrong')
    await assert.rejects(exchange(as, client, wrong, {}), { name: 'WWWAuthenticateChallengeError', status: 401 })
  })
  await check('openid-client', async () => {
    const options = { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] }
    const config = await openid.discovery(new URL(issuer), key.id, key.secret, undefined, options)
    const token = await openid.clientCredentialsGrant(config, { scope: 'write:tickets' })
    assert.equal((await openid.tokenIntrospection(config, token.access_token)).scope, 'write:tickets')
    await openid.tokenRevocation(config, token.access_token)
    assert.equal((await openid.tokenIntrospection(config, token.access_token)).active, false)
  })
}

await check('a token of one tenant with the keys of the other', async () => {
  const key = await createKey(first)
  const { access_token: token } = await exchange(await discover(url), { client_id: key.id }, oauth.ClientSecretBasic(key.secret), {})
  const others = jose.createRemoteJWKSet(new URL(`${url}/${second.organizationId}/.well-known/jwks.json`))
  await assert.rejects(jose.jwtVerify(token, others), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

assert.equal(checks, 21)
console.log(`clients for Node.js: ${checks} passed`)
