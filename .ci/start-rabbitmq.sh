#!/bin/bash
# start-rabbitmq.sh DIR PORT: Debian's RabbitMQ, all of it under DIR and on 127.0.0.1, in a
# process group of its own. Waits for an answer to AMQP's first bytes, then prints the group's id:
# `kill -- -ID` stops everything. Uses the two ports after PORT as well. DIR/rabbitmqctl is for it.
set -euo pipefail
dir=$1 port=$2
mkdir -p "$dir"/{home,data,log}
: > "$dir/rabbitmq.conf"
: > "$dir/env.conf"
# Of the plugins only the exchange types: the others would cost time in what is measured.
echo '[rabbitmq_consistent_hash_exchange,rabbitmq_random_exchange,rabbitmq_recent_history_exchange].' \
  > "$dir/plugins"

export HOME=$dir/home ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_NODENAME=leveret$port@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
export RABBITMQ_NODE_PORT=$port RABBITMQ_DIST_PORT=$((port + 1))
export RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/log
export RABBITMQ_CONF_ENV_FILE=$dir/env.conf RABBITMQ_CONFIG_FILE=$dir/rabbitmq
export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'

# rabbitmqctl for this broker.
{
  echo '#!/bin/bash'
  export -p | grep -E ' (HOME|ERL_EPMD_[A-Z]+|RABBITMQ_[A-Z_]+)='
  echo 'exec /usr/lib/rabbitmq/bin/rabbitmqctl -n "$RABBITMQ_NODENAME" "$@"'
} > "$dir/rabbitmqctl"
chmod +x "$dir/rabbitmqctl"

cd "$dir"
setsid bash -c 'epmd & exec /usr/lib/rabbitmq/bin/rabbitmq-server' \
  > "$dir/out.log" 2>&1 < /dev/null &
group=$!

answers() {
  node -e '
    const socket = require("node:net").connect(Number(process.argv[1]), "127.0.0.1")
    socket.on("connect", () => socket.write("AMQP\0\0\x09\x01"))
    socket.on("data", bytes => process.exit(bytes[0] === 1 ? 0 : 1))
    socket.on("error", () => process.exit(1))
    setTimeout(() => process.exit(1), 5000)
  ' "$port"
}

for ((attempt = 0; attempt < 240; attempt += 1)); do
  if answers; then
    echo "$group"
    exit 0
  fi
  kill -0 "$group" 2> /dev/null || break
  sleep 0.25
done
echo "RabbitMQ did not start:" >&2
tail -n 50 "$dir/out.log" >&2
kill -- "-$group" 2> /dev/null || true
exit 1
