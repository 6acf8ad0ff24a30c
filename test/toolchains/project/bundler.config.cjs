// For webpack and Rspack alike.
const { join } = require('node:path')

module.exports = {
  mode: 'production',
  target: 'node',
  entry: './service.mjs',
  output: { path: join(__dirname, 'out'), filename: `${process.env.BUNDLE}.cjs` },
}
