/** Senders of webhooks: their own libraries sign, where they have one; the others do as their documentation says. */
import { createHmac } from 'node:crypto'
import { sign as signByGithub } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import Stripe from 'stripe'

/** How a sender signs a body, and what its requests must have. */
export interface Sender {
  /** The fields of its source, without the secret. */
  declared: { verify: string; [field: string]: unknown }
  secrets: [string, string]
  /** Names and values. @param atMs The time of the sender. */
  headers: (body: string, secret: string, atMs: number) => Promise<Record<string, string>>
  /** The header with the signature or the secret. */
  header: string
  /** Values of that header that are not of its form, made of a right one. */
  illFormed: (right: string) => string[]
  /** The header with the signed time, if one is signed. */
  time?: string
  /** A header with the id. */
  id?: string
}

const seconds = (atMs: number) => Math.floor(atMs / 1000)
const hmac = (secret: string, text: string, algorithm = 'sha256') =>
  createHmac(algorithm, secret).update(text)
const hex = (prefix: string) => (right: string) => [
  prefix,
  right.slice(prefix.length === 0 ? 1 : prefix.length),
  right.slice(0, -1),
  right.slice(0, -2),
  `${right}00`,
  `${right.slice(0, -1)}g`,
  ` ${right.slice(0, -1)}`,
  `${right}, ${right}`,
]
const base64 = (right: string) => [
  right.slice(0, -1),
  right.slice(1),
  `${right}=`,
  `${right}AA`,
  right.replace(/..$/, '!='),
  Buffer.from(right, 'base64').toString('hex'),
]
const { webhooks } = new Stripe('sk_test_none')

/** By the name of their source. */
export const SENDERS: Record<string, Sender> = {
  github: {
    declared: { verify: 'github' },
    secrets: ["It's a Secret to Everybody", 'another secret'],
    headers: async (body, secret) => ({
      'X-GitHub-Delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
      'X-GitHub-Event': 'push',
      // Its library signs no empty body.
      'X-Hub-Signature-256':
        body === '' ? `sha256=${hmac(secret, '').digest('hex')}` : await signByGithub(secret, body),
    }),
    header: 'X-Hub-Signature-256',
    illFormed: (right) => [
      ...hex('sha256=')(right),
      right.replace('sha256=', 'sha1='),
      right.replace('=', ':'),
    ],
    id: 'X-GitHub-Delivery',
  },
  stripe: {
    declared: { verify: 'stripe' },
    secrets: ['whsec_IbFhbZL3YcXe2T5Kbd4c', 'whsec_another'],
    headers: async (payload, secret, atMs) => ({
      'Stripe-Signature': webhooks.generateTestHeaderString({ payload, secret, timestamp: seconds(atMs) }),
    }),
    header: 'Stripe-Signature',
    illFormed: (right) => [
      right.replace(/,.*/, ''),
      right.replace(/.*,/, ''),
      right.replace('v1=', 'v0='),
      right.replace('v1=', 'v1:'),
      right.slice(0, -1),
      right.replace(/(t=\d+)/, '$1,$1'),
      right.replace('t=', 't=0'),
      right.replace('t=', 't=+'),
      right.replace(/t=\d+/, 't='),
      right.replace(/t=\d+/, 't=soon'),
    ],
  },
  shopify: {
    declared: { verify: 'shopify' },
    secrets: ['hush', 'another'],
    headers: async (body, secret) => ({
      'X-Shopify-Topic': 'orders/create',
      'X-Shopify-Webhook-Id': 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
      'X-Shopify-Event-Id': '98880550-7158-44d4-b7cd-2c97c8a091b5',
      'X-Shopify-Hmac-Sha256': hmac(secret, body).digest('base64'),
    }),
    header: 'X-Shopify-Hmac-Sha256',
    illFormed: base64,
    id: 'X-Shopify-Webhook-Id',
  },
  slack: {
    declared: { verify: 'slack' },
    secrets: ['8f742231b10e8888abcd99yyyzzz85a5', 'another'],
    headers: async (body, secret, atMs) => ({
      'X-Slack-Request-Timestamp': `${seconds(atMs)}`,
      'X-Slack-Signature': `v0=${hmac(secret, `v0:${seconds(atMs)}:${body}`).digest('hex')}`,
    }),
    header: 'X-Slack-Signature',
    illFormed: hex('v0='),
    time: 'X-Slack-Request-Timestamp',
  },
  meta: {
    declared: { verify: 'meta', verifyToken: 'env:VERIFY' },
    secrets: ['app secret', 'another'],
    headers: async (body, secret) => ({
      'X-Hub-Signature-256': `sha256=${hmac(secret, body).digest('hex')}`,
    }),
    header: 'X-Hub-Signature-256',
    illFormed: hex('sha256='),
  },
  standard: {
    declared: { verify: 'standard' },
    secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'],
    headers: async (body, secret, atMs) => ({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': `${seconds(atMs)}`,
      'webhook-signature': new Webhook(secret).sign('msg_p5jXN8AQM9LWM0D4loKWxJek', new Date(atMs), body),
    }),
    header: 'webhook-signature',
    illFormed: (right) => [
      ...base64(right.slice('v1,'.length)).map((value) => `v1,${value}`),
      right.replace('v1,', 'v2,'),
      right.replace('v1,', 'v1a,'),
      right.slice('v1,'.length),
    ],
    time: 'webhook-timestamp',
    id: 'webhook-id',
  },
  hmac: {
    declared: {
      verify: 'hmac',
      header: 'X-Signature',
      prefix: 'sha512=',
      algorithm: 'sha512',
      encoding: 'base64',
    },
    secrets: ['Jefe', 'another'],
    headers: async (body, secret) => ({
      'X-Signature': `sha512=${hmac(secret, body, 'sha512').digest('base64')}`,
    }),
    header: 'X-Signature',
    illFormed: (right) => [
      ...base64(right.slice('sha512='.length)).map((value) => `sha512=${value}`),
      right.slice('sha512='.length),
    ],
  },
  'hmac with a time': {
    declared: {
      ...{ verify: 'hmac', header: 'X-Signature', algorithm: 'sha1' },
      ...{ signed: '{timestamp}.{body}', timestamp: 'header:X-Time', tolerance: '300s' },
    },
    secrets: ['Jefe', 'another'],
    headers: async (body, secret, atMs) => ({
      'X-Time': `${seconds(atMs)}`,
      'X-Signature': hmac(secret, `${seconds(atMs)}.${body}`, 'sha1').digest('hex'),
    }),
    header: 'X-Signature',
    illFormed: hex(''),
    time: 'X-Time',
  },
}

/** Headers as Node gives them raw. */
export function rawOf(headers: Record<string, string>): string[] {
  return Object.entries(headers).flat()
}
