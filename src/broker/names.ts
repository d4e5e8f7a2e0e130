/** How RabbitMQ names things in its reply texts. */

export function queueIn(vhost: string, name: string): string {
  return `queue '${name}' in vhost '${vhost}'`
}

export function exchangeIn(vhost: string, name: string): string {
  return `exchange '${name}' in vhost '${vhost}'`
}

/** Names lose their line breaks everywhere before use. */
export function stripped(name: string): string {
  return name.replace(/[\r\n]/g, '')
}
