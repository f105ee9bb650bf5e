# A configuration of Varnish. The public URL is http://127.0.0.1:8000/api.
# Start the server with --behind-proxy --public-url http://127.0.0.1:8000/api
vcl 4.1;

backend ifmatch {
    .host = "127.0.0.1";
    .port = "8080";
    .first_byte_timeout = 75s;
    .between_bytes_timeout = 75s;
}

sub vcl_recv {
    set req.url = regsub(req.url, "^/api/", "/");
    # Everything is for one caller, and nothing may be repeated or kept.
    return (pass);
}

sub vcl_backend_response {
    # With `do_gzip`, tags become weak and streams are held back.
    set beresp.do_gzip = false;
    set beresp.uncacheable = true;
}
