"""Posts standard input as one stream of lines, and prints the answer. It sends all before it reads, as requests does."""
import http.client
import sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(url.netloc)
connection.request(
    "POST",
    url.path + ("?" + url.query if url.query else ""),
    body=iter(lambda: sys.stdin.buffer.read1(65536), b""),
    headers={"Content-Type": "application/x-ndjson"},
    encode_chunked=True,
)
sys.stdout.write(connection.getresponse().read().decode())
