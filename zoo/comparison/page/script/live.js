// Changes from the server of `zoo watch`.
