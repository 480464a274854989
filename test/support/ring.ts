/** A ring of tests that can run for long (`test/soak.ts`). */
export interface Ring {
  name: string
  /**
   * Runs for about so many minutes.
   *
   * @param options.seed Equal seeds, equal beginnings.
   * @param options.say Tells people what was found, a line a time.
   * @returns False when the promise was broken.
   */
  run(options: { minutes: number; seed: number; say: (line: string) => void }): Promise<boolean>
}
