/** The program of a Hazelcast member, fetched once: a jar that a Java of this machine runs. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'

/** The version of the members. */
const HAZELCAST_VERSION = '5.7.0'

const CACHE = fileURLToPath(new URL('../../.cache/', import.meta.url))
const OLDEST_JAVA = 17
const FETCH_TIMEOUT_MS = 5 * 60_000

/** What starts a member. */
export interface Program {
  /** The `java` to run. */
  java: string
  /** Path of the jar. */
  jar: string
}

/** Where to look. */
export interface Place {
  /** Of it, `JAVA_HOME` and `PATH`. */
  env: NodeJS.ProcessEnv
  /** Directory that keeps the jar. */
  cache: string
}

/**
 * The program of a member. Fetches the jar through Maven when the cache does not have it: 21 MB, 10 s to a minute.
 *
 * @param say Is told, in a sentence for people, when it takes time. Called at most once.
 * @throws {Error} In words for people: there is no Java 17 or newer, no Maven, or Maven could not fetch it.
 */
export function memberProgram(
  say: (what: string) => void,
  { env, cache }: Place = { env: process.env, cache: CACHE },
): Program {
  const java = env['JAVA_HOME'] ? join(env['JAVA_HOME'], 'bin', 'java') : 'java'
  checkJava(java, env)
  const jar = join(cache, `hazelcast-${HAZELCAST_VERSION}.jar`)
  if (!existsSync(jar)) fetchOnce(jar, { env, cache }, say)
  return { java, jar }
}

function checkJava(java: string, env: NodeJS.ProcessEnv): void {
  const { stderr, error } = spawnSync(java, ['-version'], { encoding: 'utf8', env })
  if (error !== undefined) throw new Error(`no Java ${OLDEST_JAVA} or newer here (${error.message})`)
  const version = /version "(\d+)/.exec(stderr)?.[1]
  if (version === undefined || Number(version) < OLDEST_JAVA) {
    throw new Error(`Java ${OLDEST_JAVA} or newer is needed, ${java} is ${version ?? 'of no known version'}`)
  }
}

/** Maven's own folder does not bear two writers: whoever comes second waits and finds the jar there. */
function fetchOnce(jar: string, place: Place, say: (what: string) => void): void {
  mkdirSync(place.cache, { recursive: true })
  const lock = new DatabaseSync(join(place.cache, 'fetch.lock'), { timeout: FETCH_TIMEOUT_MS })
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    if (!existsSync(jar)) fetch(jar, place, say)
  } finally {
    lock.close()
  }
}

function fetch(jar: string, { env, cache }: Place, say: (what: string) => void): void {
  const what = `com.hazelcast:hazelcast:${HAZELCAST_VERSION}`
  say(`Fetching ${what} through Maven (21 MB, once)…`)
  const folder = mkdtempSync(join(cache, 'fetching-'))
  try {
    const copy = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy'
    const options = ['--batch-mode', '--quiet', '--strict-checksums', '--no-transfer-progress']
    execFileSync('mvn', [...options, copy, `-Dartifact=${what}`, `-DoutputDirectory=${folder}`], {
      cwd: folder, // Where there is no pom.xml that Maven would read.
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      env,
      timeout: FETCH_TIMEOUT_MS,
    })
    renameSync(join(folder, `hazelcast-${HAZELCAST_VERSION}.jar`), jar)
  } catch (error) {
    const { code, stdout } = error as { code?: string; stdout?: string }
    if (code === 'ENOENT') throw new Error(`no Maven (mvn) here to fetch ${what} with`)
    throw new Error(`Maven could not fetch ${what}: ${stdout?.split('\n')[0] || error}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
