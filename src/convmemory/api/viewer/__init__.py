"""The viewer: a page on which a user reads and leads their conversations, over the routes of the other routers."""
