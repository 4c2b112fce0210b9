//! A stack with something of each kind that a plan reads.

use berth_tests::TestHost;

pub const SHOP: &str = "
services:
  db:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    environment: { DB_PASSWORD: 'hunter2', LEVEL: '1' }
    configs: [settings]
    volumes: [data:/data]
  web:
    image: busybox:1
    command: [sleep, '100000']
    stop_grace_period: 1s
    environment: { TAG: \"${TAG:-one}\" }
    depends_on: [db]
    ports: ['127.0.0.1:8080:80']
    secrets: [token]
configs:
  settings: { file: settings.conf }
secrets:
  token: { file: token.txt }
volumes:
  data: {}
";

/// The shop, not up yet.
pub fn shop() -> TestHost {
    let host = TestHost::with("compose.yaml", SHOP);
    host.write("settings.conf", "port = 1\n");
    host.write("token.txt", "s3cr3t-token\n");
    host
}
