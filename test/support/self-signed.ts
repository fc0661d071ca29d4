/**
 * A certificate for localhost and 127.0.0.1 that nobody has reason to trust, valid until 2126. Made by `openssl req
 * -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost -addext
 * subjectAltName=DNS:localhost,IP:127.0.0.1`. Its key is public by being here: for tests only.
 */
export const selfSigned = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8kyL6O3zdtUPIFd7
vR4oJVS82XhawR6KBx0Bg1UlBuuhRANCAAThzj9qrzH0LDYkZ8HUxnSj/cmLcR7v
BcvUpnS6kTG7W2WYxeOTv8Fgp11TXecNQ+pFsYVG5zkDQICrwEiOo8mz
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUHgr2/RL8L68Hc9RMK0Sp4qmW2SQwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTEwNDQ0MVoYDzIxMjYxMDI4
MTA0NDQxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAThzj9qrzH0LDYkZ8HUxnSj/cmLcR7vBcvUpnS6kTG7W2WYxeOTv8Fg
p11TXecNQ+pFsYVG5zkDQICrwEiOo8mzo28wbTAdBgNVHQ4EFgQUGUESyKF3+w7v
VgOkVkKlU9iLmpcwHwYDVR0jBBgwFoAUGUESyKF3+w7vVgOkVkKlU9iLmpcwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgRuOV20HZF+HBamrVm6P6jNtdQ1d63MzipnNqUWnHlF0CIHif
qsh73L+SbSVO8FEuzApwMpl5CUzmNxkI5+Z4zlG4
-----END CERTIFICATE-----`,
};
