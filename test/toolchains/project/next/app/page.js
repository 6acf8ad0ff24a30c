import { createPool } from 'lifeguard-pool'

const pool = createPool({ create: async () => ({ number: 42 }), destroy: async () => {} }, { max: 2 })

export const dynamic = 'force-dynamic'

export default async function Page() {
  return <p>{await pool.use(({ number }) => `the answer is ${number}`)}</p>
}
