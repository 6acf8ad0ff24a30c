/**
 * A self-signed certificate for localhost, 127.0.0.1 and ::1, valid from 2020 to the end of 2119: old enough for a
 * machine whose clock is behind, and never to be renewed. It guards nothing; the key is public by being here.
 *
 * Made with `openssl ecparam -name prime256v1 -genkey` and
 * `openssl ca -selfsign -startdate 20200101000000Z -enddate 21191231235959Z`,
 * `subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1`, `basicConstraints=critical,CA:TRUE`.
 */
export const tlsKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgS3HNJBBP4KbYrZJ9
Vfp5dMBpWW9B7ShBgHcXLraCqhChRANCAAQg3JCEJYEpLHnkFt/UMtO6ALanScjn
RHcl/v7U7Pr3MS8l0CnWLKA7QDvqaENzYkW57qFT3lyhaY+te8L18g/i
-----END PRIVATE KEY-----
`

/** Also its own authority: a client passes it as `ca`. */
export const tlsCertificate = `-----BEGIN CERTIFICATE-----
MIIBizCCATKgAwIBAgIUDkbyhJEM20eqiH8f03FMjyD1ALMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMTkxMjMx
MjM1OTU5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQg3JCEJYEpLHnkFt/UMtO6ALanScjnRHcl/v7U7Pr3MS8l0CnWLKA7
QDvqaENzYkW57qFT3lyhaY+te8L18g/io2AwXjAPBgNVHRMBAf8EBTADAQH/MCwG
A1UdEQQlMCOCCWxvY2FsaG9zdIcEfwAAAYcQAAAAAAAAAAAAAAAAAAAAATAdBgNV
HQ4EFgQU3tkZBH8PZbd87dYechY1eC39yRMwCgYIKoZIzj0EAwIDRwAwRAIgcF73
F2vnFER0SdjLWsvQMr5f9osW25YHV4Q8IYVcEpsCIEnskk86MTrDGSwtfxkbCgch
dDMrc5Xw226R0SpcJYdE
-----END CERTIFICATE-----
`
