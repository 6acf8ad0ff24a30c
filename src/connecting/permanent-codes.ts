/*
 * Error codes of failed connects that the next try would get as well, with advice for each. This is the only list of
 * them. The replies of Redis have no codes; its adapter recognises them. A user's factory adds its own errors with
 * `isPermanent`.
 */

const CERTIFICATE =
  "The server's certificate is not accepted: check the host name or servername, ca, and its dates"
const CREDENTIALS = 'Correct the user name or the password, or allow this user to connect from this host'
const DATABASE = 'Correct the name of the database, create it, or give this user access to it'

/**
 * Node's codes for certificate errors ("X509 certificate error codes" in its TLS documentation), and the one for the
 * name.
 */
const CERTIFICATE_CODES = [
  ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ...['UNABLE_TO_DECRYPT_CERT_SIGNATURE', 'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY', 'CERT_SIGNATURE_FAILURE'],
  ...['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED', 'CERT_CHAIN_TOO_LONG', 'CERT_REVOKED', 'CERT_UNTRUSTED'],
  ...['CERT_REJECTED', 'ERROR_IN_CERT_NOT_BEFORE_FIELD', 'ERROR_IN_CERT_NOT_AFTER_FIELD', 'INVALID_CA'],
  ...['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'INVALID_PURPOSE', 'PATH_LENGTH_EXCEEDED'],
  ...['UNABLE_TO_GET_CRL', 'UNABLE_TO_DECRYPT_CRL_SIGNATURE', 'CRL_SIGNATURE_FAILURE', 'CRL_NOT_YET_VALID'],
  ...['CRL_HAS_EXPIRED', 'ERROR_IN_CRL_LAST_UPDATE_FIELD', 'ERROR_IN_CRL_NEXT_UPDATE_FIELD'],
  ...['HOSTNAME_MISMATCH', 'ERR_TLS_CERT_ALTNAME_INVALID'],
]

/**
 * Codes of databases: PostgreSQL's SQLSTATE (appendix A of its manual: invalid_password,
 * invalid_authorization_specification, invalid_catalog_name) as pg reports them, and the MySQL and MariaDB server
 * errors 1045, 1698, 1044 and 1049 under the names that mysql, mysql2 and mariadb use.
 */
const CREDENTIAL_CODES = ['28P01', '28000', 'ER_ACCESS_DENIED_ERROR', 'ER_ACCESS_DENIED_NO_PASSWORD_ERROR']
const DATABASE_CODES = ['3D000', 'ER_DBACCESS_DENIED_ERROR', 'ER_BAD_DB_ERROR']

const PERMANENT_CODES: ReadonlyMap<unknown, string> = new Map([
  ...CERTIFICATE_CODES.map(code => [code, CERTIFICATE] as const),
  ...CREDENTIAL_CODES.map(code => [code, CREDENTIALS] as const),
  ...DATABASE_CODES.map(code => [code, DATABASE] as const),
])

/** @returns what to do about an error with this code, if trying again will not help */
export const adviceForCode = (code: unknown): string | undefined => PERMANENT_CODES.get(code)
